//! See ARCHITECTURE.md.

pub mod content;
pub mod layers;
pub mod snapshot;
