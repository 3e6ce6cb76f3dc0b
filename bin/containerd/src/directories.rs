//! The daemon's top directories, with containerd's modes, and the lock on its root.

use crate::config::Config;
use model::{Error, Result};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

/// Held for as long as the daemon lives: nobody else may use its root.
#[derive(Debug)]
pub(crate) struct RootLock {
    _file: File,
}

/// Makes root, state and temp, and locks root.
pub(crate) fn prepare(config: &Config) -> Result<RootLock> {
    create(&config.root, 0o700)?;
    // Older releases made it 0711.
    let mode = fs::set_permissions(&config.root, Permissions::from_mode(0o700));
    if let Err(error) = mode
        && error.kind() != io::ErrorKind::PermissionDenied
    {
        return Err(Error::io(format!("set mode of {}", config.root.display()), error));
    }
    // Containers whose root is a mapped user must get through here to their bundle.
    create(&config.state, 0o711)?;
    if !config.temp.as_os_str().is_empty() {
        create(&config.temp, 0o700)?;
    }
    lock(&config.root)
}

/// Makes a directory and its parents with this mode, whatever the umask; one that is there
/// stays as it is.
pub(crate) fn create(path: &Path, mode: u32) -> Result<()> {
    let failed = |error| Error::io(format!("create directory {}", path.display()), error);
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)
}

/// How long the lock of a daemon that was killed may outlive it: in a child that it had forked, until that executes its
/// program.
const LINGERING: Duration = Duration::from_secs(2);

fn lock(root: &Path) -> Result<RootLock> {
    let failed = |error| Error::io(format!("lock {}", root.display()), error);
    let file = File::open(root).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(RootLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LINGERING => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(fs::TryLockError::WouldBlock) => {
                let root = root.display();
                let message = format!("root {root} is in use: is another containerd running?");
                return Err(Error::failed_precondition(message));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}
