//! OCI image documents (image spec 1.1) and Docker's equal ones, as far as a client needs them.

mod admit;
mod document;
mod legacy;
mod media_type;
mod platform;
mod reference;

pub use admit::MAX_DOCUMENT;
pub(crate) use admit::check_document_size;
pub use document::{Config, Descriptor, Document, History, Image, Index, Manifest, RootFs, chain_ids, sha256};
pub use legacy::Rewritten;
pub use media_type::{Kind, is_non_distributable, media_types, reference_key};
pub use platform::Platform;
pub use reference::{docker_reference, familiar_name, object_of};
