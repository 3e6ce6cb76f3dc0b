//! The container's root: the mounts containerd asks for, and taking them away again.

use model::{Error, Result};
use proto::api::containerd::types::Mount;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use sys::mount::{Unmount, mount_all, unmount_below};

/// Mounts `mounts` on the `rootfs` of `bundle`; without mounts the directory is the
/// caller's own business.
pub(crate) fn mount(mounts: Vec<Mount>, bundle: &Path) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    let rootfs = bundle.join("rootfs");
    match fs::DirBuilder::new().mode(0o711).create(&rootfs) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io(format!("make {}", rootfs.display()), error));
        }
        _ => {}
    }
    let mounts: Vec<model::Mount> = mounts
        .into_iter()
        .map(|mount| model::Mount {
            fs_type: mount.r#type,
            source: mount.source,
            target: mount.target,
            options: mount.options,
        })
        .collect();
    mount_all(&mounts, &rootfs).map_err(|error| error.context("failed to mount rootfs component"))
}

/// Takes away whatever is mounted on the `rootfs` of `bundle`.
///
/// Detached, never waited for: all processes of the container are gone, and whoever else
/// still looks at it must not stop us.
pub(crate) fn unmount(bundle: &Path) -> Result<()> {
    unmount_below(&bundle.join("rootfs"), Unmount::Detach).map_err(|error| error.context("failed rootfs umount"))
}
