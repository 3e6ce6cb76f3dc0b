//! Paths that cannot leave their root: the kernel resolves them (`openat2` with `RESOLVE_IN_ROOT`), never
//! we by string.
//!
//! A layer's names are chosen by strangers. Every symbolic link on the way to a name is followed as it
//! would be inside a container whose `/` is the root; the last component is never followed. So a name is
//! resolved to an [`Entry`], an open directory and one plain name in it, and everything is done to that.
//!
//! Opened directories are cached, since an archive names the files of a directory one after another.
//! Removing or renaming a directory or a link through its `Entry` empties the cache; nobody else may
//! change directories below the root while a `Root` is used.

mod descent;
mod remove;

pub use descent::Descent;

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid},
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{Error, Result},
    os::fd::{AsRawFd, RawFd},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Directories kept open. Archives are ordered, so a few would do; wide trees profit from more.
const CACHED: usize = 128;
/// Links followed by [`Root::create_dir_all`], as many as the kernel follows.
const MAX_LINKS: usize = 40;
/// `openat2` fails with EAGAIN when a rename anywhere races with a `..`; after that many it is reported.
const RETRIES: usize = 64;

/// A directory tree whose paths stay inside.
#[derive(Debug)]
pub struct Root {
    dir: Arc<OwnedFd>,
    cache: Mutex<HashMap<PathBuf, Arc<OwnedFd>>>,
}

impl Root {
    /// The tree below directory `path` (itself resolved as usual).
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: Arc::new(fs::open(path, flags, Mode::empty())?), cache: Mutex::default() })
    }

    /// The entry that `path` names: links on the way are followed inside the root, the last component is not.
    ///
    /// `path` is cleaned first, as archives mean it: relative to the root, `.` and empty parts dropped, `..`
    /// taking away the part before it and never leaving the root. The root's own entry is named `.`.
    ///
    /// # Errors
    /// `NotFound` if its directory does not exist, `NotADirectory` if that is something else.
    pub fn entry(&self, path: impl AsRef<Path>) -> Result<Entry<'_>> {
        let mut path = clean(path.as_ref());
        let name = path.file_name().map_or_else(|| OsString::from("."), OsStr::to_owned);
        path.pop();
        Ok(Entry { root: self, dir: self.dir(&path)?, name })
    }

    /// Opens the directory `path`, following links inside the root. The descriptor is `O_PATH`.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Arc<OwnedFd>> {
        self.dir(&clean(path.as_ref()))
    }

    /// Opens the file `path` for reading, following links inside the root, the last component included.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        Ok(File::from(self.resolve(&clean(path.as_ref()), OFlags::RDONLY | OFlags::NONBLOCK)?))
    }

    /// Makes directory `path` and those above it that are missing, with permissions `mode` (the umask does
    /// not apply). Returns the paths it made, outermost first.
    ///
    /// A link to a directory that does not exist yet gets that directory made, inside the root.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        self.create_dirs(&clean(path.as_ref()), mode, MAX_LINKS, &mut made)?;
        Ok(made)
    }

    fn create_dirs(&self, path: &Path, mode: u32, links: usize, made: &mut Vec<PathBuf>) -> Result<()> {
        // The longest prefix that exists, found from the far end since most of a path usually does.
        let mut missing = Vec::new();
        for prefix in path.ancestors() {
            match self.dir(prefix) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push(prefix),
                Err(error) => return Err(error),
            }
        }
        for prefix in missing.into_iter().rev() {
            let entry = self.entry(prefix)?;
            match entry.mkdir(mode) {
                Ok(()) => made.push(prefix.to_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    // Either made meanwhile, or a link that leads nowhere yet.
                    if let Ok(target) = entry.read_link() {
                        let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                        let target = prefix.parent().unwrap_or(Path::new("")).join(target);
                        self.create_dirs(&clean(&target), mode, links, made)?;
                    }
                    self.dir(prefix)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The directory `path`, which is clean, from the cache or opened.
    fn dir(&self, path: &Path) -> Result<Arc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.dir));
        }
        if let Some(dir) = self.lock().get(path) {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)?);
        let mut cache = self.lock();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(path.to_owned(), Arc::clone(&dir));
        Ok(dir)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut retries = RETRIES;
        loop {
            match fs::openat2(&self.dir, path, flags | OFlags::CLOEXEC, Mode::empty(), inside) {
                Err(Errno::AGAIN | Errno::INTR) if retries > 0 => retries -= 1,
                result => return Ok(result?),
            }
        }
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<OwnedFd>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// `path` relative to the root, without `.`, `..` or empty parts; empty for the root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// A name in an open directory below a [`Root`]; it need not exist. No method follows it if it is a link.
#[derive(Debug)]
pub struct Entry<'r> {
    root: &'r Root,
    dir: Arc<OwnedFd>,
    name: OsString,
}

impl Entry<'_> {
    /// The directory it is in (`O_PATH`).
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its name there.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What it is.
    pub fn stat(&self) -> Result<Stat> {
        Ok(fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes a new regular file, open for writing, with permissions `mode` less the umask.
    pub fn create(&self, mode: u32) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.dir, &self.name, flags, Mode::from_raw_mode(mode))?))
    }

    /// Opens it for reading; a fifo or device does not block.
    pub fn open(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.dir, &self.name, flags, Mode::empty())?))
    }

    /// The names in the directory it is, with their kinds as far as the file system tells, in no order.
    pub fn list(&self) -> Result<Vec<(OsString, FileType)>> {
        use std::os::unix::ffi::OsStrExt as _;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = fs::Dir::new(fs::openat(&self.dir, &self.name, flags, Mode::empty())?)?;
        let mut list = Vec::new();
        for entry in dir {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                list.push((name.to_owned(), entry.file_type()));
            }
        }
        Ok(list)
    }

    /// Makes a directory with permissions `mode`, whatever the umask.
    pub fn mkdir(&self, mode: u32) -> Result<()> {
        fs::mkdirat(&self.dir, &self.name, Mode::from_raw_mode(mode))?;
        self.chmod(mode)
    }

    /// Makes a symbolic link with the text `target`, which is not looked at.
    pub fn symlink(&self, target: impl AsRef<Path>) -> Result<()> {
        Ok(fs::symlinkat(target.as_ref(), &self.dir, &self.name)?)
    }

    /// Makes it a hard link to `existing` (to the link itself if that is a symbolic link).
    pub fn link(&self, existing: &Entry<'_>) -> Result<()> {
        Ok(fs::linkat(&existing.dir, &existing.name, &self.dir, &self.name, AtFlags::empty())?)
    }

    /// Makes a device, fifo or socket with permissions `mode` less the umask; `device` as `makedev(3)` has it.
    pub fn mknod(&self, kind: FileType, mode: u32, device: u64) -> Result<()> {
        Ok(fs::mknodat(&self.dir, &self.name, kind, Mode::from_raw_mode(mode), device)?)
    }

    /// The text of a symbolic link.
    pub fn read_link(&self) -> Result<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let target = fs::readlinkat(&self.dir, &self.name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Removes it: a file, a link or an empty directory.
    pub fn remove(&self) -> Result<()> {
        let kind = FileType::from_raw_mode(self.stat()?.st_mode);
        let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        fs::unlinkat(&self.dir, &self.name, flags)?;
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            self.root.forget();
        }
        Ok(())
    }

    /// Removes it and all below it, without following links, however deep.
    pub fn remove_all(&self) -> Result<()> {
        match FileType::from_raw_mode(self.stat()?.st_mode) {
            FileType::Directory => {
                self.root.forget();
                remove::remove_tree(self.dir.as_fd(), &self.name)
            }
            _ => self.remove(),
        }
    }

    /// Renames it to `to`, which it replaces if that is possible.
    pub fn rename(&self, to: &Entry<'_>) -> Result<()> {
        fs::renameat(&self.dir, &self.name, &to.dir, &to.name)?;
        self.root.forget();
        Ok(())
    }

    /// Changes its owner.
    pub fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(fs::chownat(&self.dir, &self.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Changes its permissions, set-id and sticky bits. A symbolic link has none: `Unsupported`.
    pub fn chmod(&self, mode: u32) -> Result<()> {
        // chmod follows links, and fchmodat2 with AT_SYMLINK_NOFOLLOW needs Linux 6.6; a descriptor of
        // the thing itself is as safe.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let itself = fs::openat(&self.dir, &self.name, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", itself.as_raw_fd());
        match fs::chmod(path.as_str(), Mode::from_raw_mode(mode & 0o7777)) {
            Err(Errno::LOOP | Errno::OPNOTSUPP) => Err(Error::from(std::io::ErrorKind::Unsupported)),
            result => Ok(result?),
        }
    }

    /// Sets when it was last read and changed.
    pub fn set_times(&self, accessed: Timespec, modified: Timespec) -> Result<()> {
        let times = Timestamps { last_access: accessed, last_modification: modified };
        Ok(fs::utimensat(&self.dir, &self.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets extended attribute `name`.
    pub fn set_xattr(&self, name: &OsStr, value: &[u8]) -> Result<()> {
        Ok(fs::lsetxattr(self.proc_path(), name, value, fs::XattrFlags::empty())?)
    }

    /// Extended attribute `name`, or `None`.
    pub fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        let path = self.proc_path();
        let mut value = vec![0; 256];
        loop {
            match fs::lgetxattr(&path, name, &mut value) {
                Ok(len) => {
                    value.truncate(len);
                    return Ok(Some(value));
                }
                // The size may change between the calls, so ask again until it fits (64 KiB at most).
                Err(Errno::RANGE) if value.len() < 1 << 16 => value = vec![0; 1 << 16],
                Err(Errno::NODATA) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The names of its extended attributes that this process may see.
    pub fn xattrs(&self) -> Result<Vec<OsString>> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.proc_path();
        let mut names = vec![0; 1024];
        let len = match fs::llistxattr(&path, &mut names) {
            Err(Errno::RANGE) => {
                names = vec![0; 1 << 16];
                fs::llistxattr(&path, &mut names)?
            }
            result => result?,
        };
        let names = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| OsStr::from_bytes(name).to_owned()).collect())
    }

    /// Removes extended attribute `name`.
    pub fn remove_xattr(&self, name: &OsStr) -> Result<()> {
        Ok(fs::lremovexattr(self.proc_path(), name)?)
    }

    /// A path for calls that take only paths: through the open directory, so that the only component left
    /// to resolve is the name, which the `l…` calls do not follow.
    fn proc_path(&self) -> PathBuf {
        let dir: RawFd = self.dir.as_raw_fd();
        Path::new(&format!("/proc/self/fd/{dir}")).join(&self.name)
    }
}

#[cfg(test)]
mod tests;
