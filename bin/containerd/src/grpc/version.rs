//! Version: what clients decide features by.

use crate::version;
use proto::api::containerd::services::version::v1::{self as api, version_server};
use tonic::{Request, Response, Status, async_trait};

/// The service.
#[derive(Debug)]
pub(crate) struct Version;

#[async_trait]
impl version_server::Version for Version {
    async fn version(&self, _: Request<()>) -> Result<Response<api::VersionResponse>, Status> {
        Ok(Response::new(api::VersionResponse { version: version::VERSION.into(), revision: version::REVISION.into() }))
    }
}
