//! What one test on one row of the matrix works with.

use crate::api::Api;
use crate::{Ctr, Daemon, Impl, image};

/// One combination of programs.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Whose daemon.
    pub daemon: Impl,
    /// Whose shim the daemon finds.
    pub shim: Impl,
    /// Whose ctr drives it.
    pub ctr: Impl,
}

/// A started daemon and the ctr to drive it with.
#[derive(Debug)]
pub struct Bed {
    /// The daemon under test.
    pub daemon: Daemon,
    /// The combination.
    pub row: Row,
}

/// The name of the small image that [`Bed::import`] brings in.
pub const BUSYBOX: &str = "example.com/test/busybox:1";

impl Bed {
    /// Starts a daemon, runs the test on it, stops it and checks that nothing was left behind.
    pub fn run(row: Row, test: fn(&mut Self)) {
        Self::run_on(Daemon::start(row.daemon, row.shim), row, test);
    }

    /// The same on a daemon that is started.
    pub fn run_on(daemon: Daemon, row: Row, test: fn(&mut Self)) {
        let mut bed = Self { daemon, row };
        test(&mut bed);
        bed.daemon.finish();
    }

    /// The row's ctr, in the daemon's namespace.
    #[must_use]
    pub fn ctr(&self) -> Ctr {
        self.daemon.ctr(self.row.ctr)
    }

    /// A gRPC connection in the daemon's namespace.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::connect(&self.daemon.socket(), self.daemon.namespace())
    }

    /// What a message of ours must name where Go's says less.
    #[must_use]
    pub fn ours_names<'a>(&self, object: &'a str) -> &'a str {
        if self.row.daemon == Impl::Ours { object } else { "" }
    }

    /// Imports the small image and answers its name.
    pub fn import(&self) -> &'static str {
        let archive = image::busybox_archive();
        self.ctr().ok(&format!("images import --local {}", archive.display()));
        BUSYBOX
    }
}
