//! Leases: what clients hold objects with while they work.

use crate::Store;
use model::{Error, Filter, Labels, Lease, Resource, Result, Scope};

impl Store {
    /// The lease `id`.
    pub fn get_lease(&self, scope: &Scope, id: &str) -> Result<Lease> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }

    /// The leases that match, by id.
    pub fn list_leases(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Lease>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Creates the lease `id`.
    pub fn create_lease(&self, scope: &Scope, id: &str, labels: Labels) -> Result<Lease> {
        let _ = (scope, id, labels);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes a lease; what it alone held is garbage from now on.
    pub fn delete_lease(&self, scope: &Scope, id: &str) -> Result<()> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }

    /// Holds `resource`, which need not exist.
    pub fn add_lease_resource(&self, scope: &Scope, id: &str, resource: &Resource) -> Result<()> {
        let _ = (scope, id, resource);
        Err(Error::unimplemented("pending"))
    }

    /// Lets go of `resource`; not holding it is no error.
    pub fn remove_lease_resource(&self, scope: &Scope, id: &str, resource: &Resource) -> Result<()> {
        let _ = (scope, id, resource);
        Err(Error::unimplemented("pending"))
    }

    /// What the lease holds: content, images, ingests, snapshots.
    pub fn list_lease_resources(&self, scope: &Scope, id: &str) -> Result<Vec<Resource>> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }
}
