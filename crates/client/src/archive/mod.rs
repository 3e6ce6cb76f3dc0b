//! Image archives without regard to where blobs live: what an OCI layout or a Docker archive says, and what one is
//! made of. The client's import and export use it over gRPC, a daemon's transfers on its own store.

mod export;
mod framing;

pub use export::{Entry, ExportOptions, ExportPlan, Images};
pub use framing::{end, padding};
