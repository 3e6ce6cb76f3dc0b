//! Mount lists, as snapshotters hand them out, made real and taken down again.
//!
//! The options are those of mount(8), as containerd reads them. `mount(2)` does the work, since it exists on
//! every kernel; the newer calls do what it cannot: shift owners, and hold mounts that are nowhere attached.

mod options;
mod overlay;
mod temporary;
mod unmount;

pub use temporary::{TempMount, read_only};
pub use unmount::{Unmount, unmount_all, unmount_below, unmount_mounts};

use crate::{
    idmap::{self, IdMap, UserNamespace},
    root::Root,
};
use model::{Error, Mount, Result};
use options::{Options, REMOUNT};
use rustix::{
    fs::{StatVfsMountFlags, statvfs},
    io::Errno,
    mount::{self, MountFlags},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Makes `mounts`, in order, on directory `target`; those with a target of their own below it.
///
/// On failure those made already are taken down.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    for (done, mount) in mounts.iter().enumerate() {
        let made = Place::of(mount, target).and_then(|place| mount_at(mount, &place.path()));
        if let Err(error) = made {
            if let Err(undo) = unmount_mounts(&mounts[..done], target, Unmount::Detach) {
                return Err(error.context(format!("and then could not undo ({undo})")));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Where a mount goes: the target itself, or a directory below it that the kernel resolved inside it.
enum Place {
    Target(PathBuf),
    Below(Arc<OwnedFd>),
}

impl Place {
    fn of(mount: &Mount, target: &Path) -> Result<Self> {
        if mount.target.is_empty() {
            return Ok(Self::Target(target.to_owned()));
        }
        let dir = Root::open(target).and_then(|root| root.open_dir(&mount.target));
        let failed = |error| Error::io(format!("open mount target {:?} in {}", mount.target, target.display()), error);
        Ok(Self::Below(dir.map_err(failed)?))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Target(path) => path.clone(),
            Self::Below(dir) => PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())),
        }
    }
}

fn mount_at(mount: &Mount, target: &Path) -> Result<()> {
    if let Some((helper, kind)) = fuse_helper(&mount.fs_type) {
        return mount_fuse(helper, kind, mount, target);
    }
    let options = Options::parse(&mount.options)?;
    let failed = |error| {
        let Mount { fs_type, source, .. } = mount;
        let data = options.data.join(",");
        Error::io(format!("mount {source:?} on {} (type {fs_type}, {data:?})", target.display()), error)
    };
    let namespace = match &options.id_maps {
        Some((uids, gids)) => Some(UserNamespace::new(&uids.parse::<IdMap>()?, &gids.parse::<IdMap>()?)?),
        None => None,
    };
    // A remount that changes no file system option is one of mount flags only, done below.
    if !options.flags.contains(REMOUNT) || !options.data.is_empty() {
        if mount.fs_type == "overlay" {
            overlay::mount(&mount.source, target, options.flags, &options.data, namespace.as_ref()).map_err(failed)?;
        } else {
            let data = data_argument(&options.data).map_err(failed)?;
            mount::mount(mount.source.as_str(), target, mount.fs_type.as_str(), options.flags, data.as_c_str())
                .map_err(|errno| failed(errno.into()))?;
        }
    }
    let finished = finish(mount, target, &options, namespace.as_ref());
    if finished.is_err() && !options.flags.contains(REMOUNT) {
        // Best effort: the error that counts is the first.
        let _ = mount::unmount(target, mount::UnmountFlags::DETACH);
    }
    finished.map_err(failed)
}

/// What a mount needs once it is there: propagation, read-only binds, shifted owners.
fn finish(mount: &Mount, target: &Path, options: &Options, namespace: Option<&UserNamespace>) -> io::Result<()> {
    if !options.propagation.is_empty() {
        mount::mount_change(target, options.propagation)?;
    }
    let bind = options.flags.contains(MountFlags::BIND);
    let read_only = options.flags.contains(MountFlags::RDONLY);
    if (bind && read_only) || (options.flags.contains(REMOUNT) && options.data.is_empty()) {
        remount(target, options.flags)?;
    }
    if let Some(namespace) = namespace
        && mount.fs_type != "overlay"
    {
        let tree = idmap::mapped_clone(target, namespace, bind && read_only)?;
        idmap::attach(tree, target)?;
    }
    Ok(())
}

/// `bind` ignores all other flags; they are set by a second call. In a user namespace the kernel insists that
/// flags the mount came with stay (it has locked them), so they are added when it refuses.
fn remount(target: &Path, flags: MountFlags) -> io::Result<()> {
    match mount::mount_remount(target, flags & !REMOUNT, c"") {
        Err(Errno::PERM) => {
            let flags = (flags & !REMOUNT) | inherited(statvfs(target)?.f_flag);
            Ok(mount::mount_remount(target, flags, c"")?)
        }
        result => Ok(result?),
    }
}

fn inherited(present: StatVfsMountFlags) -> MountFlags {
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
    ];
    pairs.into_iter().filter(|(flag, _)| present.contains(*flag)).map(|(_, flag)| flag).collect()
}

/// What `mount(2)` takes of its last argument, on machines with the smallest pages.
const PAGE: usize = 4096;

/// The last argument of `mount(2)`, which ends with a NUL.
fn data_argument(data: &[String]) -> io::Result<CString> {
    let data = data.join(",");
    if data.len() >= PAGE {
        let text = format!("mount options are too long ({} bytes)", data.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(CString::new(data)?)
}

/// The helper for types like `fuse3.fuse-overlayfs`, and what comes after the dot.
fn fuse_helper(fs_type: &str) -> Option<(&'static str, &str)> {
    let (prefix, kind) = fs_type.split_once('.')?;
    let helper = match prefix {
        "fuse" => "mount.fuse",
        "fuse3" => "mount.fuse3",
        _ => return None,
    };
    Some((helper, kind))
}

fn mount_fuse(helper: &str, kind: &str, mount: &Mount, target: &Path) -> Result<()> {
    // The helper opens the path by itself, so it must not be one of ours in /proc/self.
    let real = std::fs::canonicalize(target).map_err(|error| Error::io(format!("find {}", target.display()), error))?;
    let mut command = Command::new(helper);
    command.arg(&mount.source).arg(real);
    for option in &mount.options {
        command.arg("-o").arg(option);
    }
    let output = command.arg("-t").arg(kind).stdin(null()?).output();
    let output = output.map_err(|error| Error::io(format!("run mount helper {helper}"), error))?;
    if output.status.success() {
        return Ok(());
    }
    // A helper may be chatty; its first kilobyte says what is wrong.
    let said = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(1024)]).trim().to_owned();
    Err(Error::unknown(format!("mount helper {helper} for {:?} failed ({}): {said}", mount.source, output.status)))
}

fn null() -> Result<File> {
    File::open("/dev/null").map_err(|error| Error::io("open /dev/null", error))
}

#[cfg(test)]
mod tests;
