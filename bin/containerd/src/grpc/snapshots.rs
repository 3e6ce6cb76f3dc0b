//! Snapshots: layered file systems, each in a snapshotter named by the request.

use super::{
    reply::{Replies, blocking, in_blocks},
    scope::scoped,
};
use model::{Error, Filter, Mount};
use proto::{
    api::containerd::{
        services::snapshots::v1::{self as api, snapshots_server},
        types,
    },
    convert::{mask_from_wire, status},
};
use store::Store;
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Snapshots(pub(crate) Store);

impl Snapshots {
    /// The store, once it is known to have this snapshotter.
    fn with(&self, snapshotter: &str) -> Result<Store, Status> {
        if snapshotter.is_empty() {
            return Err(status(Error::invalid_argument("snapshotter argument missing")));
        }
        if !self.0.snapshotters().any(|known| known == snapshotter) {
            return Err(status(Error::invalid_argument(format!("snapshotter not loaded: {snapshotter}"))));
        }
        Ok(self.0.clone())
    }
}

fn mounts(mounts: Vec<Mount>) -> Vec<types::Mount> {
    mounts.into_iter().map(Into::into).collect()
}

#[async_trait]
impl snapshots_server::Snapshots for Snapshots {
    type ListStream = Replies<api::ListSnapshotsResponse>;

    async fn prepare(
        &self,
        request: Request<api::PrepareSnapshotRequest>,
    ) -> Result<Response<api::PrepareSnapshotResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let labels = r.labels;
        let made = blocking(move || store.prepare_snapshot(&scope, &r.snapshotter, &r.key, &r.parent, labels)).await?;
        Ok(Response::new(api::PrepareSnapshotResponse { mounts: mounts(made) }))
    }

    async fn view(
        &self,
        request: Request<api::ViewSnapshotRequest>,
    ) -> Result<Response<api::ViewSnapshotResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let labels = r.labels;
        let made = blocking(move || store.view_snapshot(&scope, &r.snapshotter, &r.key, &r.parent, labels)).await?;
        Ok(Response::new(api::ViewSnapshotResponse { mounts: mounts(made) }))
    }

    async fn mounts(&self, request: Request<api::MountsRequest>) -> Result<Response<api::MountsResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let found = blocking(move || store.snapshot_mounts(&scope, &r.snapshotter, &r.key)).await?;
        Ok(Response::new(api::MountsResponse { mounts: mounts(found) }))
    }

    async fn commit(&self, request: Request<api::CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let labels = r.labels;
        blocking(move || store.commit_snapshot(&scope, &r.snapshotter, &r.name, &r.key, &r.parent, labels)).await?;
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<api::RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        blocking(move || store.remove_snapshot(&scope, &r.snapshotter, &r.key)).await?;
        Ok(Response::new(()))
    }

    async fn stat(
        &self,
        request: Request<api::StatSnapshotRequest>,
    ) -> Result<Response<api::StatSnapshotResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let info = blocking(move || store.stat_snapshot(&scope, &r.snapshotter, &r.key)).await?;
        Ok(Response::new(api::StatSnapshotResponse { info: Some(info.into()) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateSnapshotRequest>,
    ) -> Result<Response<api::UpdateSnapshotResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let wire = r.info.ok_or_else(|| status(Error::invalid_argument("snapshot info is missing")))?;
        let (labels, mask) = (wire.labels, mask_from_wire(r.update_mask));
        let info = blocking(move || store.update_snapshot(&scope, &r.snapshotter, &wire.name, labels, &mask)).await?;
        Ok(Response::new(api::UpdateSnapshotResponse { info: Some(info.into()) }))
    }

    async fn list(&self, request: Request<api::ListSnapshotsRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let found = blocking(move || store.list_snapshots(&scope, &r.snapshotter, &Filter::parse(&r.filters)?)).await?;
        Ok(in_blocks(found, |info| api::ListSnapshotsResponse { info }))
    }

    async fn usage(&self, request: Request<api::UsageRequest>) -> Result<Response<api::UsageResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let store = self.with(&r.snapshotter)?;
        let usage = blocking(move || store.snapshot_usage(&scope, &r.snapshotter, &r.key)).await?;
        Ok(Response::new(usage.into()))
    }

    async fn cleanup(&self, request: Request<api::CleanupRequest>) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let store = self.with(&request.snapshotter)?;
        blocking(move || store.cleanup_snapshotter(&request.snapshotter)).await?;
        Ok(Response::new(()))
    }
}
