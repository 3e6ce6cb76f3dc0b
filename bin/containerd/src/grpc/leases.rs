//! Leases: what clients hold objects with while they work.

use super::{reply::blocking, scope::scoped};
use model::{Error, Filter, Resource};
use proto::{
    api::containerd::services::leases::v1::{self as api, leases_server},
    convert::status,
};
use std::{
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};
use store::Store;
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Leases(pub(crate) Store);

/// An id for a lease created without one: the time's nanoseconds and a random part.
fn random_id() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    format!("{nanos}-{:08x}", RandomState::new().hash_one(nanos) >> 32)
}

fn resource(wire: Option<api::Resource>) -> Result<Resource, Status> {
    let wire = wire.ok_or_else(|| Error::invalid_argument("lease resource is missing"));
    wire.and_then(TryInto::try_into).map_err(status)
}

#[async_trait]
impl leases_server::Leases for Leases {
    async fn create(&self, request: Request<api::CreateRequest>) -> Result<Response<api::CreateResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let id = if request.id.is_empty() { random_id() } else { request.id };
        let (store, labels) = (self.0.clone(), request.labels);
        let lease = blocking(move || store.create_lease(&scope, &id, labels)).await?;
        Ok(Response::new(api::CreateResponse { lease: Some(lease.into()) }))
    }

    async fn delete(&self, request: Request<api::DeleteRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        blocking(move || {
            store.delete_lease(&scope, &request.id)?;
            if request.sync { store.collect_garbage().map(drop) } else { Ok(()) }
        })
        .await?;
        Ok(Response::new(()))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let leases = blocking(move || store.list_leases(&scope, &Filter::parse(&request.filters)?)).await?;
        Ok(Response::new(api::ListResponse { leases: leases.into_iter().map(Into::into).collect() }))
    }

    async fn add_resource(&self, request: Request<api::AddResourceRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, resource) = (self.0.clone(), resource(request.resource)?);
        blocking(move || store.add_lease_resource(&scope, &request.id, &resource)).await?;
        Ok(Response::new(()))
    }

    async fn delete_resource(&self, request: Request<api::DeleteResourceRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, resource) = (self.0.clone(), resource(request.resource)?);
        blocking(move || store.remove_lease_resource(&scope, &request.id, &resource)).await?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<api::ListResourcesRequest>,
    ) -> Result<Response<api::ListResourcesResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let resources = blocking(move || store.list_lease_resources(&scope, &request.id)).await?;
        Ok(Response::new(api::ListResourcesResponse { resources: resources.iter().map(Into::into).collect() }))
    }
}
