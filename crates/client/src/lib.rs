//! Every outgoing call.

pub mod shim;
pub mod ttrpc;
