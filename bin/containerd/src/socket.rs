//! The daemon's unix sockets: made with the right owner and mode, and only if nobody uses them.

use crate::{
    config::{Socket, check_socket},
    directories,
};
use model::{Error, Result};
use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::Path,
};
use tokio::net::UnixListener;

/// Who may connect: owner and group.
const MODE: u32 = 0o660;

/// Listens on `socket`. What a dead daemon left there is replaced; a live one is an error.
pub(crate) fn listen(socket: &Socket) -> Result<UnixListener> {
    remove_stale(socket)?;
    let path = path(socket);
    if let Some(parent) = path.parent() {
        directories::create(parent, 0o711)?;
    }
    let listener =
        UnixListener::bind(path).map_err(|error| Error::io(format!("listen on socket {}", path.display()), error))?;
    protect(socket)?;
    Ok(listener)
}

/// Sets owner and mode. Nobody can have connected before with other rights: connecting needs
/// write access, and the umask of a daemon leaves that to its own user.
pub(crate) fn protect(socket: &Socket) -> Result<()> {
    let path = path(socket);
    let failed = |what: &str, error| Error::io(format!("set {what} of socket {}", path.display()), error);
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(|error| failed("mode", error))?;
    chown(path, Some(socket.uid), Some(socket.gid)).map_err(|error| failed("owner", error))
}

fn path(socket: &Socket) -> &Path {
    Path::new(socket.address.strip_prefix("unix://").unwrap_or(&socket.address))
}

/// Makes way for `socket`.
///
/// # Errors
/// `FailedPrecondition` if somebody listens there, or what is there is no socket.
pub(crate) fn remove_stale(socket: &Socket) -> Result<()> {
    check_socket(&socket.address)?;
    let path = path(socket);
    let failed = |what: &str, error| Error::io(format!("{what} {}", path.display()), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("stat", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::failed_precondition(format!("{} is in the way: it is no socket", path.display())));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::failed_precondition(format!(
            "socket {} is in use: is another containerd running?",
            path.display()
        ))),
        Err(_) => fs::remove_file(path).map_err(|error| failed("remove stale socket", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;
    use std::os::unix::fs::MetadataExt as _;

    fn at(path: &Path) -> Socket {
        Socket { address: path.display().to_string(), uid: 3, gid: 4 }
    }

    #[tokio::test]
    async fn stale_sockets_are_replaced_and_live_ones_and_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/c.sock");
        let first = listen(&at(&path)).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.mode() & 0o777, made.uid(), made.gid()), (0o660, 3, 4));
        assert!(listen(&at(&path)).unwrap_err().to_string().contains("in use"));
        drop(first);
        listen(&at(&path)).unwrap();

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert_eq!(listen(&at(&file)).unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
