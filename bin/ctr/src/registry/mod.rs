//! Registries: how commands reach them, who they are there, and what they carry themselves.

mod credentials;
pub(crate) mod dump;
mod fetch;
mod flags;
mod password;
mod push;
mod remote;
mod selection;
mod source;

pub(crate) use credentials::{Known, Shown};
pub(crate) use fetch::{Fetch, Metadata};
pub(crate) use flags::{RegistryFlags, UnusedFlags};
pub(crate) use push::{Parents, Push};
pub(crate) use remote::{object_reference, reference};
pub(crate) use selection::Selection;
pub(crate) use source::SourceLabel;
