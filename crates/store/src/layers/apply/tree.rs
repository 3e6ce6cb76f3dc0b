//! The directory tree being unpacked: its root, the directories held open, and what is left to do at the end.

use super::target::{Target, Whiteouts};
use crate::layers::{
    options::IdMap,
    reach::open,
    rooted::{Directory, failed, open_in, shown, split},
    tar::{Entry, Time},
};
use model::{Error, Result};
use rustix::{
    fs::{self, AtFlags, FileType, Timespec, Timestamps},
    io::Errno,
};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    rc::Rc,
};

/// `EXT4_SUPER_MAGIC` of statfs(2).
const EXT4: i64 = 0xEF53;

/// Directories held open at a time. Archives go through a tree in order, so few are needed.
const OPEN_DIRECTORIES: usize = 64;

/// Most bytes that are kept about the names of one layer, as [`Tree::kept`] counts them: those of 16 million files.
const MAX_KEPT: usize = 256 << 20;

/// Device and inode number.
type Id = (u64, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) root: Rc<Directory>,
    pub(super) whiteouts: Whiteouts,
    pub(super) ids: Option<&'a IdMap>,
    pub(super) in_user_namespace: bool,
    /// Whether blocks that are reserved make writing large files cheaper: on ext4 by a quarter. Elsewhere it saves
    /// nothing, and on btrfs it would keep files from being compressed.
    pub(super) reserves: bool,
    /// Whether the upper directory is marked as one with something to reconcile.
    pub(super) pending: bool,
    /// By clean path. Emptied whenever something a path may lead through is removed.
    open: HashMap<Vec<u8>, Rc<Directory>>,
    /// Hashes of directory and name of everything there that this layer made: whiteouts concern only what was there
    /// before.
    unpacked: HashSet<u64>,
    hasher: RandomState,
    /// Directory times, set last since every file made in a directory changes them.
    times: HashMap<Id, Late>,
    /// Bytes of the paths in `times`.
    paths: usize,
    /// How often `times` was added to.
    turn: u64,
    pub(super) max_kept: usize,
    /// Whether a directory or link was removed, so that a path in `times` may mean something else by now.
    replaced: bool,
}

/// What is set when everything is unpacked.
#[derive(Debug)]
struct Late {
    /// Later ones are set later: what their path means is what counts.
    turn: u64,
    path: Box<[u8]>,
    times: Timestamps,
}

impl<'a> Tree<'a> {
    pub(super) fn open(target: &Target, ids: Option<&'a IdMap>) -> Result<Self> {
        let root = open(&target.root)?;
        let reserves = fs::fstatfs(&root.fd).is_ok_and(|statfs| statfs.f_type == EXT4);
        Ok(Self {
            root: Rc::new(root),
            whiteouts: target.whiteouts,
            ids,
            in_user_namespace: super::target::in_user_namespace(),
            reserves,
            pending: false,
            open: HashMap::new(),
            unpacked: HashSet::new(),
            hasher: RandomState::new(),
            times: HashMap::new(),
            paths: 0,
            turn: 0,
            max_kept: MAX_KEPT,
            replaced: false,
        })
    }

    /// The directory `path` (clean) names, which is made with its parents if it is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(directory) = self.open.get(path) {
            return Ok(Rc::clone(directory));
        }
        let directory = self.make_parents(path, 0)?;
        self.keep(path, &directory);
        Ok(directory)
    }

    /// Remembers that `path` is `directory`.
    pub(super) fn keep(&mut self, path: &[u8], directory: &Rc<Directory>) {
        if self.open.len() >= OPEN_DIRECTORIES {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), Rc::clone(directory));
    }

    /// To be called when a directory or a symbolic link was removed.
    pub(super) fn forget_paths(&mut self) {
        self.open.clear();
        self.replaced = true;
    }

    /// Records that this layer made `name` in `parent`.
    pub(super) fn mark_unpacked(&mut self, parent: &Directory, name: &[u8]) {
        self.unpacked.insert(self.hasher.hash_one((parent.id, name)));
    }

    /// Whether this layer made `name` in the directory with `id`.
    pub(super) fn is_unpacked(&self, id: Id, name: &[u8]) -> bool {
        self.unpacked.contains(&self.hasher.hash_one((id, name)))
    }

    /// Records that `name` is no longer in the directory with `id`.
    pub(super) fn forget_name(&mut self, id: Id, name: &[u8]) {
        self.unpacked.remove(&self.hasher.hash_one((id, name)));
    }

    /// Records that the directory with `id` is gone.
    pub(super) fn forget_directory(&mut self, id: Id) {
        if let Some(late) = self.times.remove(&id) {
            self.paths -= late.path.len();
        }
    }

    /// Sets the times of `directory`, at `path`, once everything is unpacked.
    pub(super) fn set_times_at_end(&mut self, directory: &Directory, path: &[u8], times: Timestamps) {
        self.turn += 1;
        self.paths += path.len();
        let late = Late { turn: self.turn, path: path.into(), times };
        if let Some(earlier) = self.times.insert(directory.id, late) {
            self.paths -= earlier.path.len();
        }
    }

    /// Bytes that are kept about what this layer has made, tables included.
    pub(super) fn kept(&self) -> usize {
        self.unpacked.len() * 2 * size_of::<u64>() + self.times.len() * 2 * size_of::<(Id, Late)>() + self.paths
    }

    /// Checks that what is kept has its bounds, whatever the archive has.
    ///
    /// # Errors
    /// `ResourceExhausted`.
    pub(super) fn check_kept(&self) -> Result<()> {
        if self.kept() <= self.max_kept {
            return Ok(());
        }
        let (names, most) = (self.unpacked.len(), self.max_kept);
        Err(Error::resource_exhausted(format!("too many files: their {names} names take more than {most} bytes")))
    }

    /// Does what had to wait until every file is there.
    pub(super) fn finish(mut self) -> Result<()> {
        self.unpacked = HashSet::new();
        let mut all: Vec<Late> = std::mem::take(&mut self.times).into_values().collect();
        all.sort_unstable_by_key(|late| late.turn);
        for Late { path, times, .. } in all {
            let Some((parent, name)) = split(&path) else { continue };
            self.set_directory_times(parent, name, &times).map_err(|error| error.context(shown(&path)))?;
        }
        Ok(())
    }

    fn set_directory_times(&mut self, parent: &[u8], name: &[u8], times: &Timestamps) -> Result<()> {
        // Not `directory`: a parent that is gone is not to be made again.
        let parent = match self.open.get(parent) {
            _ if parent.is_empty() => Rc::clone(&self.root),
            Some(parent) => Rc::clone(parent),
            None => match open_in(&self.root.fd, parent) {
                Ok(fd) => {
                    let directory = Rc::new(Directory::new(fd).map_err(failed("stat"))?);
                    self.keep(parent, &directory);
                    directory
                }
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                Err(errno) => return Err(failed("open directory")(errno)),
            },
        };
        if self.replaced {
            match fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
                Ok(_) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(failed("stat")(errno)),
            }
        }
        fs::utimensat(&parent.fd, name, times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set times"))
    }
}

/// The times to give what `entry` describes. Times before 1970 or beyond Go's range become 1970, as in Go containerd.
pub(super) fn times(entry: &Entry) -> Timestamps {
    const MAX: Time = Time { seconds: i64::MAX / 1_000_000_000, nanos: 854_775_807 };
    let bounded = |time: Time| if time.seconds < 0 || time > MAX { Time::default() } else { time };
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    let accessed = entry.atime.map_or(entry.mtime, |atime| atime.max(entry.mtime));
    Timestamps { last_access: spec(bounded(accessed)), last_modification: spec(bounded(entry.mtime)) }
}
