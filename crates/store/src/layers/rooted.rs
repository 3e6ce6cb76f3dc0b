//! Paths below a root: resolved by the kernel (`openat2` with `RESOLVE_IN_ROOT`), held as open directories, shown in
//! messages.

use model::Error;
use rustix::{
    fd::OwnedFd,
    fs::{self, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Most levels of directories gone down into where each level holds a file descriptor.
pub(super) const MAX_DEPTH: usize = 1000;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) id: (u64, u64),
    /// New files take this directory's group rather than ours.
    pub(super) set_gid: bool,
}

impl Directory {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = fs::fstat(&fd)?;
        Ok(Self { fd, id: (stat.st_dev, stat.st_ino), set_gid: stat.st_mode & 0o2000 != 0 })
    }
}

/// Opens the directory `path` as if `root` were the root directory: neither `..` nor a link leads out.
pub(super) fn open_in(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // The kernel gives up with EAGAIN if something was renamed while it followed a `..`.
    let mut tries = 0;
    loop {
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < 100 => tries += 1,
            result => return result,
        }
    }
}

/// Opens the directory `name` in `parent`, which must not be a link.
pub(super) fn open_child(parent: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    fs::openat(&parent.fd, name, flags, Mode::empty())
}

/// `path` without empty components, `.` and `..`, as Go cleans the names of an archive before it uses them.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let mut clean: Vec<u8> = Vec::with_capacity(path.len());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => clean.truncate(clean.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(name);
            }
        }
    }
    clean
}

/// Parent and last component of a clean path, or `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// `parent/name`, clean if both are.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// A path as messages show it.
pub(super) fn shown(path: &[u8]) -> String {
    const MOST: usize = 256;
    let cut = if path.len() > MOST { "…" } else { "" };
    format!("{:?}{cut}", String::from_utf8_lossy(&path[..path.len().min(MOST)]))
}

/// For `map_err`: a system call that failed while doing `what`.
pub(super) fn failed(what: &str) -> impl Fn(Errno) -> Error + '_ {
    move |errno| Error::io(what, errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_stay_below_the_root() {
        for (path, expected) in [
            ("a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./a/./b/.", "a/b"),
            ("a/../b", "b"),
            ("../../b", "b"),
            ("a/b/../../..", ""),
            ("", ""),
            ("a..b/..c", "a..b/..c"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split(b"c"), Some((&b""[..], &b"c"[..])));
        assert_eq!(split(b""), None);
    }
}
