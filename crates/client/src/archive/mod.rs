//! Image archives without regard to where blobs live: what an OCI layout or a Docker archive says, and what one is
//! made of. The client's import and export use it over gRPC, a daemon's transfers on its own store.

mod entries;
mod export;
mod files;
mod framing;
mod layout;

pub use entries::{Bounded, Entry as TarEntry, decompress, each_entry, each_entry_with_seek};
pub use export::{Entry, ExportOptions, ExportPlan, Images};
pub use files::{Archive, HEAD, Place, blob_path, digest_of_path, is_compressed, not_a_tar};
pub use framing::{end, padding};
pub use layout::{ANNOTATION_NAME, ANNOTATION_REF, Layers, Layout, Sources, docker_layer_type, read};
