//! Every outgoing call: containerd's API over a unix socket, and what clients build on it.
//!
//! [`Client`] hands out the generated service clients, with namespace, lease and message limits already set.
//! Above them stand the verbs a client needs: whole blobs, leases, images in and out, unpacking, and the OCI
//! runtime spec of a container. [`shim`] and [`ttrpc`] speak to shims.

pub mod archive;
mod connect;
mod content;
mod convert;
mod export;
mod hash;
mod image;
mod import;
mod lease;
pub mod oci;
mod progress;
mod reply;
mod services;
pub mod shim;
mod snapshot;
pub mod spec;
pub mod transfer;
pub mod ttrpc;
mod unique;
mod unpack;
mod wire;

pub use archive::ExportOptions;
pub use connect::{Client, DEFAULT_ADDRESS, DEFAULT_CONNECT_TIMEOUT};
pub use content::{Blob, Chunks, Expect, Folder, Written};
pub use convert::{Compression, ConvertOptions};
pub use hash::Hash;
pub use image::{
    Documents, ImageContent, Listing, MAX_INDEX_DEPTH, Platforms, check_depth, descend, image_record, target_of,
};
pub use import::{ImportOptions, Imported, Naming, gc_labels};
pub use lease::DEFAULT_EXPIRATION;
pub use oci::MAX_DOCUMENT;
pub use progress::{Event, Item, Progress, Silent};
pub use reply::{Reply, error_of};
pub use services::Service;
pub use unique::part as unique_part;
pub use unpack::Unpacker;
pub use wire::{
    any, any_to_wire, decode_all, descriptor_from_wire, descriptor_to_wire, label_mask, timestamp_from_wire,
};
