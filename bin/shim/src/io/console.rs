//! The socket over which the runtime hands us the terminal it made.

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A listening socket in a directory of its own, removed with it.
///
/// Not in the bundle: the path of a socket is limited to 108 bytes, and bundles lie deep.
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    directory: PathBuf,
    listener: OwnedFd,
}

impl ConsoleSocket {
    pub(crate) fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = parent.join(format!("pty{}-{number}", std::process::id()));
        let create = || DirBuilder::new().mode(0o700).create(&directory);
        if let Err(error) = create() {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Left by a process that was killed, under our number.
            std::fs::remove_dir_all(&directory)?;
            create()?;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let socket = Self { directory, listener };
        rustix::net::bind(&socket.listener, &SocketAddrUnix::new(socket.path())?)?;
        rustix::net::listen(&socket.listener, 1)?;
        Ok(socket)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("pty.sock")
    }

    /// Takes the terminal. The runtime has ended by now, so it is there or never comes.
    pub(crate) fn receive(self) -> io::Result<OwnedFd> {
        let connection = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let master = sys::pty::receive_master(&connection)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(master)
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let directory: &Path = &self.directory;
        if let Err(error) = std::fs::remove_dir_all(directory) {
            crate::log::warning!("remove {}: {error}", directory.display());
        }
    }
}
