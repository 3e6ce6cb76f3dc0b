//! overlayfs mounts, whose options outgrow the page that `mount(2)` has for them.
//!
//! Lower directories of one snapshotter share their parent. Named relative to it, by a thread that has it as
//! its working directory, they take a few bytes each. Shifted owners need the same: overlayfs takes its lower
//! layers from a mount of that parent with its owners shifted, which a thread makes in a mount namespace of
//! its own. Nothing of it is left if the process is killed in between.

use super::{PAGE, data_argument};
use crate::idmap::{UserNamespace, attach, mapped_clone};
use rustix::{
    fs::CWD,
    mount::{self, MountFlags, MountPropagationFlags, OpenTreeFlags, open_tree},
    thread::UnshareFlags,
};
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
};

/// Options up to this length go to the kernel as they are: what containerd has, a page less some reserve.
const SHORT: usize = PAGE - 512;

/// Mounts an overlay with options `data` on `target`; lower layers shifted by `namespace`, if there is one.
pub(super) fn mount(
    source: &str,
    target: &Path,
    flags: MountFlags,
    data: &[String],
    namespace: Option<&UserNamespace>,
) -> io::Result<()> {
    let mount_here = |data: &[String]| -> io::Result<()> {
        Ok(mount::mount(source, target, "overlay", flags, data_argument(data)?.as_c_str())?)
    };
    let size: usize = data.iter().map(|option| option.len() + 1).sum();
    if namespace.is_none() && size < SHORT {
        return mount_here(data);
    }
    let Some((parent, compact)) = compact(data) else {
        if namespace.is_some() {
            let text = "the lower directories of an overlay with id maps must share a parent other than /";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        return mount_here(data);
    };
    let Some(namespace) = namespace else {
        return on_a_thread(UnshareFlags::FS, || {
            std::env::set_current_dir(&parent)?;
            mount_here(&compact)
        });
    };
    let tree = on_a_thread(UnshareFlags::FS | UnshareFlags::NEWNS, || -> io::Result<OwnedFd> {
        mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // The target serves as the place for both: the shifted parent, and on top of it the overlay.
        attach(mapped_clone(&parent, namespace, true)?, target)?;
        std::env::set_current_dir(target)?;
        mount_here(&compact)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(open_tree(CWD, target, flags)?)
    })?;
    attach(tree, target)
}

/// The parent that all lower directories share, and `data` with them named relative to it. `None` if there is
/// nothing to gain or they share only `/`.
fn compact(data: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let index = data.iter().position(|option| option.starts_with("lowerdir="))?;
    let lower: Vec<&str> = data[index].strip_prefix("lowerdir=")?.split(':').collect();
    // An escaped colon would be taken for the end of a path; such paths stay as they are.
    if data[index].contains('\\') || lower.iter().any(|dir| !dir.starts_with('/')) {
        return None;
    }
    let mut parent = Path::new(*lower.first()?).parent()?;
    while !lower.iter().all(|dir| Path::new(dir).strip_prefix(parent).is_ok_and(|rest| rest != Path::new(""))) {
        parent = parent.parent()?;
    }
    if parent == Path::new("/") {
        return None;
    }
    let relative = |dir: &&str| Path::new(dir).strip_prefix(parent).ok()?.to_str().map(str::to_owned);
    let relative: Vec<String> = lower.iter().map(relative).collect::<Option<_>>()?;
    let mut data = data.to_vec();
    data[index] = format!("lowerdir={}", relative.join(":"));
    Some((parent.to_owned(), data))
}

/// Runs `work` on a thread that shares neither its working directory nor, with `NEWNS`, its mounts with the
/// rest of the process, and ends with it.
fn on_a_thread<T: Send>(apart: UnshareFlags, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("mount".into()).spawn_scoped(scope, || {
            // SAFETY: of what unshare can separate, only FILES would break the library's assumptions (that
            // descriptors are the process's); FS and NEWNS change how this thread resolves paths.
            unsafe { rustix::thread::unshare_unsafe(apart) }?;
            work()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lower: &str) -> Vec<String> {
        vec!["index=off".into(), format!("lowerdir={lower}"), "workdir=/r/9/work".into()]
    }

    #[test]
    fn lower_directories_are_named_from_their_common_parent() {
        let (parent, data) = compact(&options("/r/snapshots/12/fs:/r/snapshots/1/fs")).unwrap();
        assert_eq!(parent, Path::new("/r/snapshots"));
        assert_eq!(data, ["index=off", "lowerdir=12/fs:1/fs", "workdir=/r/9/work"]);
        let (parent, data) = compact(&options("/r/snapshots/12/fs")).unwrap();
        assert_eq!((parent.as_path(), data[1].as_str()), (Path::new("/r/snapshots/12"), "lowerdir=fs"));
        // One inside the other: the parent is above both.
        assert_eq!(compact(&options("/r/s/1:/r/s/1/fs")).unwrap().0, Path::new("/r/s"));
    }

    #[test]
    fn what_cannot_be_compacted_is_left_alone() {
        for lower in ["/a/fs:/b/fs", "relative:/a/b", r"/r/a\:b/fs:/r/c/fs", ""] {
            assert!(compact(&options(lower)).is_none(), "{lower}");
        }
        assert!(compact(&["upperdir=/a".into()]).is_none());
    }
}
