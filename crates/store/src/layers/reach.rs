//! Trees to read: where they are, or mounted for as long as that takes.

use super::rooted::Directory;
use model::{Error, Mount, Result};
use rustix::fs::{self, CWD, Mode, OFlags};
use std::path::Path;
use sys::mount::{TempMount, read_only};

/// Opens what `mounts` show; what has to be mounted for it is added to `mounted`, which keeps it.
pub(super) fn reach(mounts: &[Mount], mounted: &mut Vec<TempMount>) -> Result<Directory> {
    if let [mount] = mounts
        && matches!(mount.fs_type.as_str(), "bind" | "rbind")
        && mount.target.is_empty()
    {
        return open(Path::new(&mount.source));
    }
    let mount = TempMount::new(&read_only(mounts))?;
    let directory = open(mount.path())?;
    mounted.push(mount);
    Ok(directory)
}

/// Opens the directory `path` of the host.
pub(super) fn open(path: &Path) -> Result<Directory> {
    fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(Directory::new)
        .map_err(|errno| Error::io(format!("open {}", path.display()), errno.into()))
}
