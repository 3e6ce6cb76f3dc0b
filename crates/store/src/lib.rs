//! See ARCHITECTURE.md.

pub mod layers;
