//! Sandbox records; who runs them is another's business.

use crate::Store;
use model::{Error, FieldMask, Filter, Result, Sandbox, Scope};

impl Store {
    /// The sandbox `id`.
    pub fn get_sandbox(&self, scope: &Scope, id: &str) -> Result<Sandbox> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }

    /// The sandboxes that match, by id.
    pub fn list_sandboxes(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Sandbox>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Creates a sandbox record.
    pub fn create_sandbox(&self, scope: &Scope, sandbox: Sandbox) -> Result<Sandbox> {
        let _ = (scope, sandbox);
        Err(Error::unimplemented("pending"))
    }

    /// Updates labels, extensions, spec or runtime as `mask` says.
    pub fn update_sandbox(&self, scope: &Scope, sandbox: Sandbox, mask: &FieldMask) -> Result<Sandbox> {
        let _ = (scope, sandbox, mask);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes a sandbox record.
    pub fn delete_sandbox(&self, scope: &Scope, id: &str) -> Result<()> {
        let _ = (scope, id);
        Err(Error::unimplemented("pending"))
    }
}
