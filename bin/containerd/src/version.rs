//! Who we say we are.

/// The containerd API level we speak: clients choose features by it, so it is a release of
/// containerd that has every service and field we have, and none that we lack.
pub(crate) const VERSION: &str = "2.1.9";

/// Tells us from other implementations.
pub(crate) const REVISION: &str = concat!("containerd-rs-", env!("CARGO_PKG_VERSION"));

/// The module whose version `--version` prints; scripts read the third word.
pub(crate) const PACKAGE: &str = "github.com/containerd/containerd/v2";
