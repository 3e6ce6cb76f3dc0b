//! Containers: records only; tasks and snapshots are not touched.

use crate::Store;
use model::{Container, Error, FieldMask, Filter, Result, Scope};

impl Store {
    /// The container `id`.
    pub fn get_container(&self, scope: &Scope, id: &str) -> Result<Container> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }

    /// The containers that match, by id.
    pub fn list_containers(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Container>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Creates a container record.
    pub fn create_container(&self, scope: &Scope, container: Container) -> Result<Container> {
        let _ = (scope, container);
        Err(Error::unimplemented("pending"))
    }

    /// Updates labels, spec, extensions, image or snapshot key as `mask` says.
    pub fn update_container(&self, scope: &Scope, container: Container, mask: &FieldMask) -> Result<Container> {
        let _ = (scope, container, mask);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes a container record.
    pub fn delete_container(&self, scope: &Scope, id: &str) -> Result<()> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }
}
