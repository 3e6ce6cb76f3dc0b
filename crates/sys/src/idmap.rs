//! Shifted owners: id maps as labels and mount options write them, and mounts that apply them.

use model::{Error, Result};
use rustix::{
    fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    fs::CWD,
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
    process::{WaitId, WaitIdOptions, waitid},
};
use std::{fs::File, io, path::Path, str::FromStr};

/// One range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First id inside.
    pub inside: u32,
    /// First id outside, on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A map of user or group ids: `inside:outside:count[,…]`, as in `containerd.io/snapshot/uidmapping`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<Range>);

impl IdMap {
    /// The id on the host of `inside`, or `None` if it has none.
    pub fn to_host(&self, inside: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            (offset < range.count).then(|| range.outside.checked_add(offset)).flatten()
        })
    }

    /// The ranges, in the order written.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The text of `/proc/<pid>/uid_map`.
    fn proc_text(&self) -> String {
        self.0.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
    }
}

impl FromStr for IdMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid_argument(format!("id map {text:?}: each range is `inside:outside:count`"));
        let range = |part: &str| {
            let mut numbers = part.split(':').map(|number| number.parse::<u32>().ok());
            let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
            // u32::MAX is no id: it means "unchanged" to chown and "unmapped" to the kernel.
            let valid = numbers.next().is_none()
                && count > 0
                && inside.checked_add(count).is_some()
                && outside.checked_add(count).is_some();
            valid.then_some(Range { inside, outside, count })
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self).ok_or_else(invalid)
    }
}

/// A user namespace that exists only to carry id maps.
#[derive(Debug)]
pub struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// Makes one with the maps `uids` and `gids`.
    pub fn new(uids: &IdMap, gids: &IdMap) -> Result<Self> {
        Self::create(uids, gids).map_err(|error| Error::io("make a user namespace for an id map", error))
    }

    /// The kernel makes a user namespace only together with a process, which lives for as long as it takes to
    /// write the maps and open the namespace.
    fn create(uids: &IdMap, gids: &IdMap) -> io::Result<Self> {
        let child = Sleeper::spawn()?;
        // Only the group map of a process that may not call setgroups is open to the unprivileged; as root
        // either order works.
        std::fs::write(format!("/proc/{}/uid_map", child.pid), uids.proc_text())?;
        std::fs::write(format!("/proc/{}/gid_map", child.pid), gids.proc_text())?;
        // The child is not reaped before this value is dropped, so its pid is still its own.
        Ok(Self(File::open(format!("/proc/{}/ns/user", child.pid))?.into()))
    }
}

/// A process in a new user namespace that does nothing; killed and reaped when dropped.
struct Sleeper {
    pid: i32,
    pidfd: OwnedFd,
}

impl Sleeper {
    fn spawn() -> io::Result<Self> {
        let mut pidfd: libc::c_int = -1;
        // No exit signal: the child is no business of whoever handles SIGCHLD or waits for any child.
        let flags = libc::CLONE_NEWUSER | libc::CLONE_PIDFD;
        // SAFETY: clone without CLONE_VM copies the address space, as fork does, and without a stack the child
        // goes on where we are. Other threads do not exist in the child, so that locks they held stay locked:
        // the child touches none, it makes raw system calls only and never returns from this block. The
        // kernel writes one int to `pidfd`, which outlives the call.
        let pid = unsafe {
            let pid = libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0);
            if pid == 0 {
                libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                loop {
                    // Interrupted only by signals, which end it.
                    libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0);
                }
            }
            pid
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: clone succeeded, so `pidfd` is a new descriptor that nobody else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Self { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        // __WALL, since a child without an exit signal is not waited for otherwise.
        let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(0x4000_0000);
        while matches!(waitid(WaitId::PidFd(self.pidfd.as_fd()), options), Err(Errno::INTR)) {}
    }
}

/// A detached copy of the mounts at directory `source`, owners shifted by `namespace`; attach it with
/// [`attach`]. `read_only` makes them so as well.
pub fn mapped_clone(source: &Path, namespace: &UserNamespace, read_only: bool) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 },
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        // A descriptor is never negative.
        userns_fd: u64::try_from(namespace.0.as_raw_fd()).unwrap_or(u64::MAX),
    };
    // SAFETY: mount_setattr reads the empty path, which is NUL-terminated, and `attributes`, whose size is given;
    // both live across the call, and the two descriptors are open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(tree)
}

/// Attaches the detached mounts `tree` at directory `target`.
pub fn attach(tree: impl AsFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Whether owners can be shifted on the file system of directory `dir`, found out by doing it.
pub fn supported(dir: &Path) -> bool {
    let map = IdMap(vec![Range { inside: 0, outside: 65_536, count: 65_536 }]);
    UserNamespace::new(&map, &map).is_ok_and(|namespace| mapped_clone(dir, &namespace, false).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn maps_are_parsed_and_applied() {
        let map: IdMap = "0:100000:65536,70000:5:1".parse().unwrap();
        assert_eq!([map.to_host(0), map.to_host(65_535), map.to_host(70_000)], [Some(100_000), Some(165_535), Some(5)]);
        assert_eq!([map.to_host(65_536), map.to_host(70_001)], [None, None]);
        for bad in ["", "0:1", "0:1:2:3", "0:1:0", "-1:0:1", "a:0:1", "0:4294967295:1", "0:0:1,", "0:0:4294967296"] {
            assert_eq!(bad.parse::<IdMap>().unwrap_err().kind(), model::Kind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn a_mapped_clone_shows_shifted_owners() {
        let dir = tempfile::tempdir().unwrap();
        let map: IdMap = "0:100000:65536".parse().unwrap();
        let namespace = UserNamespace::new(&map, &map).unwrap();
        let clone = mapped_clone(dir.path(), &namespace, false).unwrap();
        let shown = std::fs::metadata(format!("/proc/self/fd/{}", clone.as_raw_fd())).unwrap();
        assert_eq!((shown.uid(), shown.gid()), (100_000, 100_000));
    }

    #[test]
    fn a_file_system_without_id_maps_is_told() {
        assert!(!supported(Path::new("/proc")));
        assert!(supported(&std::env::temp_dir()));
    }
}
