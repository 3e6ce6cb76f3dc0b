//! Diff: layers into snapshots, and the difference of two snapshots into a layer.

use super::{reply::blocking, scope::scoped};
use model::{Descriptor, Error, Mount};
use proto::{
    api::containerd::services::diff::v1::{self as api, diff_server},
    convert::{any_from_wire, status, timestamp_from_wire},
};
use std::sync::Arc;
use store::{
    Store,
    layers::{ApplyOptions, DiffRequest, StreamProcessor},
};
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Diff {
    pub(crate) store: Store,
    /// Programs that turn other media types into layers.
    pub(crate) processors: Arc<[StreamProcessor]>,
    /// Sync the whole file system after each layer, asked or not.
    pub(crate) sync_fs: bool,
}

#[async_trait]
impl diff_server::Diff for Diff {
    async fn apply(&self, request: Request<api::ApplyRequest>) -> Result<Response<api::ApplyResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let layer = request.diff.ok_or_else(|| Error::invalid_argument("descriptor of the layer is missing"));
        let layer: Descriptor = layer.and_then(TryInto::try_into).map_err(status)?;
        let mounts: Vec<Mount> = request.mounts.into_iter().map(Into::into).collect();
        let options = ApplyOptions {
            sync_fs: self.sync_fs || request.sync_fs,
            processors: Arc::clone(&self.processors),
            payloads: request.payloads.into_iter().map(|(id, any)| (id, any_from_wire(any))).collect(),
            ..ApplyOptions::default()
        };
        let store = self.store.clone();
        let applied = blocking(move || store.apply_layer(&scope, &layer, &mounts, &options)).await?;
        Ok(Response::new(api::ApplyResponse { applied: Some(applied.into()) }))
    }

    async fn diff(&self, request: Request<api::DiffRequest>) -> Result<Response<api::DiffResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let lower: Vec<Mount> = request.left.into_iter().map(Into::into).collect();
        let upper: Vec<Mount> = request.right.into_iter().map(Into::into).collect();
        let wanted = DiffRequest {
            media_type: request.media_type,
            reference: request.r#ref,
            labels: request.labels,
            source_date_epoch: request.source_date_epoch.map(|time| timestamp_from_wire(Some(time))),
        };
        let store = self.store.clone();
        let made = blocking(move || store.diff_layer(&scope, &lower, &upper, wanted)).await?;
        Ok(Response::new(api::DiffResponse { diff: Some(made.into()) }))
    }
}
