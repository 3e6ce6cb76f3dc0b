//! Registries: how commands reach them, and who they are there.

mod credentials;
mod flags;
mod password;
mod remote;

pub(crate) use credentials::Known;
pub(crate) use flags::RegistryFlags;
pub(crate) use remote::Remote;
