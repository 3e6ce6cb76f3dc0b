//! Namespaces: tenants.

use super::reply::blocking;
use model::{Error, NamespaceInfo};
use proto::{
    api::containerd::services::namespaces::v1::{self as api, namespaces_server},
    convert::{mask_from_wire, status},
};
use store::Store;
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Namespaces(pub(crate) Store);

fn to_wire(info: NamespaceInfo) -> api::Namespace {
    api::Namespace { name: info.name, labels: info.labels }
}

fn from_wire(namespace: Option<api::Namespace>) -> Result<NamespaceInfo, Status> {
    let namespace = namespace.ok_or_else(|| status(Error::invalid_argument("namespace is missing")))?;
    Ok(NamespaceInfo { name: namespace.name, labels: namespace.labels })
}

#[async_trait]
impl namespaces_server::Namespaces for Namespaces {
    async fn get(
        &self,
        request: Request<api::GetNamespaceRequest>,
    ) -> Result<Response<api::GetNamespaceResponse>, Status> {
        let (store, name) = (self.0.clone(), request.into_inner().name);
        let info = blocking(move || store.get_namespace(&name)).await?;
        Ok(Response::new(api::GetNamespaceResponse { namespace: Some(to_wire(info)) }))
    }

    /// The request's filter is ignored, as in containerd.
    async fn list(
        &self,
        _: Request<api::ListNamespacesRequest>,
    ) -> Result<Response<api::ListNamespacesResponse>, Status> {
        let store = self.0.clone();
        let namespaces = blocking(move || store.list_namespaces()).await?;
        Ok(Response::new(api::ListNamespacesResponse { namespaces: namespaces.into_iter().map(to_wire).collect() }))
    }

    async fn create(
        &self,
        request: Request<api::CreateNamespaceRequest>,
    ) -> Result<Response<api::CreateNamespaceResponse>, Status> {
        let info = from_wire(request.into_inner().namespace)?;
        let store = self.0.clone();
        let info = blocking(move || store.create_namespace(info)).await?;
        Ok(Response::new(api::CreateNamespaceResponse { namespace: Some(to_wire(info)) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateNamespaceRequest>,
    ) -> Result<Response<api::UpdateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let (info, mask) = (from_wire(request.namespace)?, mask_from_wire(request.update_mask));
        let store = self.0.clone();
        let info = blocking(move || store.update_namespace(info, &mask)).await?;
        Ok(Response::new(api::UpdateNamespaceResponse { namespace: Some(to_wire(info)) }))
    }

    async fn delete(&self, request: Request<api::DeleteNamespaceRequest>) -> Result<Response<()>, Status> {
        let (store, name) = (self.0.clone(), request.into_inner().name);
        blocking(move || store.delete_namespace(&name)).await?;
        Ok(Response::new(()))
    }
}
