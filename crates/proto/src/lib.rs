//! containerd's wire: message types, gRPC service stubs and ttrpc framing.
//!
//! Everything under [`api`], [`shim`] and [`cri`] is generated at build time from the
//! .proto files of published crates (see `build/`). Unknown fields of a newer peer are
//! dropped on decode; [`prost_types::Any`] values are kept as opaque bytes and must
//! never be re-encoded.

/// containerd's gRPC API: services, types and events.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod api {
    include!(concat!(env!("OUT_DIR"), "/api/api.rs"));
}

/// Messages of the shim API and of ttrpc events, and cgroup metrics.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod shim {
    include!(concat!(env!("OUT_DIR"), "/shim/shim.rs"));
}

/// Kubernetes' container runtime interface, v1.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
#[cfg(feature = "grpc")]
pub mod cri {
    include!(concat!(env!("OUT_DIR"), "/cri/cri.rs"));
}

/// The encoded `FileDescriptorSet` of [`api`], for gRPC reflection.
pub const API_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.descriptors"));

/// The encoded `FileDescriptorSet` of [`shim`], for clients that print what they do not know.
pub const SHIM_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.descriptors"));

pub use prost_types::Any;

#[cfg(feature = "grpc")]
pub mod convert;
pub mod ttrpc;
