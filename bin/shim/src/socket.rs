//! The socket a shim serves on: its name, its making, and whether one is served already.

use model::{Error, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where sockets go unless containerd says otherwise.
pub(crate) const DIRECTORY: &str = "/run/containerd/s";

/// The longest path a socket may have (108 bytes with the final zero), as Go's limit.
const LIMIT: usize = 106;

const BACKLOG: i32 = 4096;

/// The socket path for `group` of `namespace` under the containerd at `address`.
pub(crate) fn path(directory: &Path, address: &str, namespace: &str, group: &str) -> Result<PathBuf> {
    // Go hashes the cleaned join of the three.
    let name = Path::new(address).join(namespace).join(group);
    let digest = Sha256::digest(name.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(hex);
    if path.as_os_str().len() > LIMIT {
        return Err(Error::invalid_argument(format!("{}: unix socket path too long (> {LIMIT})", path.display())));
    }
    Ok(path)
}

/// A new listening socket, or the news that a shim listens there already.
#[derive(Debug)]
pub(crate) enum Bound {
    /// Ours to serve.
    Listener(OwnedFd),
    /// Served by the shim of our group.
    Served,
}

/// Listens on `path`, clearing away a socket nobody serves.
pub(crate) fn bind(path: &Path) -> Result<Bound> {
    let context = |error: io::Error| Error::io(format!("create new shim socket {}", path.display()), error);
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(context)?;
    }
    match listen(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if connect(path).is_ok() {
                return Ok(Bound::Served);
            }
            fs::remove_file(path).map_err(context)?;
            listen(path).map(Bound::Listener).map_err(context)
        }
        result => result.map(Bound::Listener).map_err(context),
    }
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connects to `path` without waiting.
///
/// # Errors
/// `WouldBlock` when the peer's backlog is full, and what `connect` reports otherwise.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_go_computes() {
        // echo -n /run/containerd/containerd.sock/default/redis | sha256sum
        let path = path(Path::new("/s"), "/run/containerd/containerd.sock", "default", "redis").unwrap();
        assert_eq!(path, Path::new("/s/f6b99128c07bdbd0902363ba979c22f8ef053e683a7ce24dd016a1ab17092c33"));
        assert!(super::path(Path::new(&"/d".repeat(30)), "a", "b", "c").is_err());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_served_one_is_found() {
        let _nobody_forks = crate::FORKING.read();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/s");
        let Bound::Listener(listener) = bind(&path).unwrap() else { panic!() };
        assert!(matches!(bind(&path).unwrap(), Bound::Served));
        drop(listener);
        assert!(matches!(bind(&path).unwrap(), Bound::Listener(_)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
