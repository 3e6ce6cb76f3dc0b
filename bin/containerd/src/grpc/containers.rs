//! Containers: records only.

use super::{
    reply::{Replies, blocking},
    scope::scoped,
};
use model::{Container, Error, Filter};
use prost::Message as _;
use proto::{
    api::containerd::services::containers::v1::{self as api, containers_server},
    convert::{mask_from_wire, status},
};
use store::Store;
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Containers(pub(crate) Store);

fn container(wire: Option<api::Container>) -> Result<Container, Status> {
    let wire = wire.filter(|container| !container.id.is_empty());
    wire.map(Into::into).ok_or_else(|| status(Error::invalid_argument("Container.ID required")))
}

#[async_trait]
impl containers_server::Containers for Containers {
    type ListStreamStream = Replies<api::ListContainerMessage>;

    async fn get(
        &self,
        request: Request<api::GetContainerRequest>,
    ) -> Result<Response<api::GetContainerResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let container = blocking(move || store.get_container(&scope, &request.id)).await?;
        Ok(Response::new(api::GetContainerResponse { container: Some(container.into()) }))
    }

    async fn list(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<api::ListContainersResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let containers = blocking(move || {
            let mut containers = Vec::new();
            let filter = Filter::parse(&request.filters)?;
            let encoded = |container| api::Container::from(container).encode_to_vec();
            store.each_container(&scope, &filter, |container| containers.push(encoded(container)))?;
            Ok(containers)
        });
        Ok(Response::new(api::ListContainersResponse { containers: containers.await? }))
    }

    async fn list_stream(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<Self::ListStreamStream>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let found = blocking(move || store.list_containers(&scope, &Filter::parse(&request.filters)?)).await?;
        let messages = found.into_iter().map(|found| Ok(api::ListContainerMessage { container: Some(found.into()) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn create(
        &self,
        request: Request<api::CreateContainerRequest>,
    ) -> Result<Response<api::CreateContainerResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, container) = (self.0.clone(), container(request.container)?);
        let container = blocking(move || store.create_container(&scope, container)).await?;
        Ok(Response::new(api::CreateContainerResponse { container: Some(container.into()) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateContainerRequest>,
    ) -> Result<Response<api::UpdateContainerResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, container) = (self.0.clone(), container(request.container)?);
        let mask = mask_from_wire(request.update_mask);
        let container = blocking(move || store.update_container(&scope, container, &mask)).await?;
        Ok(Response::new(api::UpdateContainerResponse { container: Some(container.into()) }))
    }

    async fn delete(&self, request: Request<api::DeleteContainerRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        blocking(move || store.delete_container(&scope, &request.id)).await?;
        Ok(Response::new(()))
    }
}
