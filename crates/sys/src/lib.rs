//! The kernel behind a safe interface: the only crate with `unsafe`. See ARCHITECTURE.md.

pub mod fsync;
pub mod root;
