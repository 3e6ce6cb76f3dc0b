//! Where the programs under test are: ours as cargo built them, Go's as `scripts/peers.sh` unpacked them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impl {
    /// Built from this workspace.
    Ours,
    /// containerd of Debian's newest suite.
    Go,
}

impl Impl {
    /// The daemon.
    #[must_use]
    pub fn containerd(self) -> PathBuf {
        self.program("containerd")
    }

    /// The client.
    #[must_use]
    pub fn ctr(self) -> PathBuf {
        self.program("ctr")
    }

    /// The shim. Ours is the static build of `make shim`, as users get it.
    #[must_use]
    pub fn shim(self) -> PathBuf {
        let name = "containerd-shim-runc-v2";
        match (self, std::env::var_os("CONTAINERD_SHIM")) {
            (Self::Ours, Some(path)) => existing(PathBuf::from(path)),
            (Self::Ours, None) => existing(target_dir().join("x86_64-unknown-linux-gnu/shim").join(name)),
            (Self::Go, _) => self.program(name),
        }
    }

    fn program(self, name: &str) -> PathBuf {
        let dir = match self {
            Self::Ours => std::env::var_os("CONTAINERD_BIN").map_or_else(profile_dir, PathBuf::from),
            Self::Go => peers_dir().join("bin"),
        };
        existing(dir.join(name))
    }
}

/// The OCI runtime in runc's place: `$CONTAINERD_TEST_RUNTIME`, a path. The tests name it as `BinaryName`.
#[must_use]
pub fn runtime() -> Option<&'static Path> {
    static RUNTIME: OnceLock<Option<PathBuf>> = OnceLock::new();
    RUNTIME.get_or_init(|| std::env::var_os("CONTAINERD_TEST_RUNTIME").map(|path| existing(path.into()))).as_deref()
}

/// Where Go containerd is: `$CONTAINERD_PEERS`, else `target/peers`.
fn peers_dir() -> PathBuf {
    std::env::var_os("CONTAINERD_PEERS").map_or_else(|| target_dir().join("peers"), PathBuf::from).join("usr")
}

/// A client program beside Go containerd, such as `sbin/dockerd`.
#[must_use]
pub fn peer(path: &str) -> PathBuf {
    existing(peers_dir().join(path))
}

/// youki, where `scripts/youki.sh` put it.
#[must_use]
pub fn youki() -> PathBuf {
    existing(target_dir().join("youki/bin/youki"))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} does not exist: `make test` builds and fetches what the tests need", path.display());
    path
}

/// cargo's directory for the profile this test was built with, where the other binaries are too.
pub(crate) fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("path of the test binary");
    exe.ancestors().nth(2).expect("<profile>/deps/<test>").to_path_buf()
}

/// The workspace's `target` directory: caches live there.
#[must_use]
pub fn target_dir() -> PathBuf {
    profile_dir().parent().map(Path::to_path_buf).expect("target/<profile>")
}

/// The workspace's own directory.
#[must_use]
pub fn workspace_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}
