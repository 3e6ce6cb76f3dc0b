//! The ways in which both clients do the same.

use tests::{Daemon, Impl};

/// What the name of a row is followed by, and how it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Flags of `ctr`, of both sides.
    pub(crate) flags: &'static [&'static str],
    /// Whether Go's daemon is at its best, rather than as it comes.
    best: bool,
}

/// By the daemon (Transfer), the default of both.
pub(crate) const DEFAULT: Way = Way { name: "", flags: &[], best: false };

/// By the client.
pub(crate) const LOCAL: Way = Way { name: " with --local", flags: &["--local"], best: false };

/// Go's with the fastest program it knows for gzip, and all layers at once; ours as it comes.
pub(crate) const BEST: Way = Way { name: ", Go's with igzip and 10 downloads", flags: &[], best: true };

const SETTINGS: &str = "[plugins.\"io.containerd.transfer.v1.local\"]\nmax_concurrent_downloads = 10\n";

impl Way {
    pub(crate) fn daemon(self, side: Impl) -> Daemon {
        match side {
            Impl::Go if self.best => Daemon::with_decompressors(side, SETTINGS),
            _ => crate::daemon(side),
        }
    }
}
