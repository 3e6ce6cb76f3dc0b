//! Writes changes as tar entries: the directories above a change first, files with several names as links.

use super::file::File;
use crate::layers::{
    rooted::{Directory, failed, join, open_in, shown, split},
    tar::{Kind, Member, Writer},
};
use model::{Error, Result, Timestamp};
use rustix::{fs, io::Errno};
use std::{
    collections::{HashMap, HashSet},
    io::Write,
};

/// Prefix of the names that say what is gone.
const WHITEOUT: &[u8] = b".wh.";

/// Writes a layer.
pub(super) struct Emitter<'a, W> {
    root: &'a Directory,
    tar: Writer<W>,
    epoch: Option<Timestamp>,
    /// Directories written already.
    written: HashSet<Vec<u8>>,
    /// The first name written of files with several.
    sources: HashMap<(u64, u64), Vec<u8>>,
    /// Unchanged names of such files: they are written if another name of theirs turns out to have changed.
    unchanged: HashMap<(u64, u64), Vec<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Emitter<'a, W> {
    /// `root` is the upper tree's.
    pub(super) fn new(root: &'a Directory, epoch: Option<Timestamp>, out: W) -> Self {
        Self {
            root,
            tar: Writer::new(out),
            epoch,
            written: HashSet::new(),
            sources: HashMap::new(),
            unchanged: HashMap::new(),
            buffer: vec![0; 256 << 10],
        }
    }

    pub(super) fn finish(self) -> Result<W> {
        self.tar.finish()
    }

    /// `path` is gone.
    pub(super) fn deleted(&mut self, path: &[u8]) -> Result<()> {
        let Some((parent, name)) = split(path) else { return Ok(()) };
        let path = join(parent, &[WHITEOUT, name].concat());
        self.parents(&path)?;
        self.tar.member(&Member {
            kind: Kind::File,
            path: &path,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: 0,
            device: (0, 0),
            xattrs: &[],
        })
    }

    /// `path` is as it was; remembered if it has other names that may have changed.
    pub(super) fn same(&mut self, path: &[u8], file: &File<'_>) -> Result<()> {
        match file.links() {
            Some(id) if self.sources.contains_key(&id) => self.changed(path, file),
            Some(id) => {
                self.unchanged.entry(id).or_default().push(path.to_vec());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// `path` is new or another.
    pub(super) fn changed(&mut self, path: &[u8], file: &File<'_>) -> Result<()> {
        let Some(kind) = file.kind() else { return Ok(()) };
        if split(path).is_some_and(|(_, name)| name.starts_with(WHITEOUT)) {
            tracing::warn!(path = %shown(path), "left out of layer: it would read as the deletion of another file");
            return Ok(());
        }
        self.parents(path)?;
        let Some(id) = file.links() else { return self.write(path, file, kind, None) };
        if let Some(source) = self.sources.get(&id).cloned() {
            return self.write(path, file, kind, Some(&source));
        }
        self.write(path, file, kind, None)?;
        self.sources.insert(id, path.to_vec());
        for other in self.unchanged.remove(&id).unwrap_or_default() {
            self.parents(&other)?;
            self.write(&other, file, kind, Some(path))?;
        }
        Ok(())
    }

    /// Writes the directories above `path` that are not written yet.
    fn parents(&mut self, path: &[u8]) -> Result<()> {
        let Some((parent, _)) = split(path) else { return Ok(()) };
        if parent.is_empty() || self.written.contains(parent) {
            return Ok(());
        }
        self.parents(parent)?;
        let Some((above, name)) = split(parent) else { return Ok(()) };
        let found = if above.is_empty() {
            None
        } else {
            let open = open_in(&self.root.fd, above).and_then(Directory::new);
            Some(open.map_err(failed("open directory"))?)
        };
        let directory = found.as_ref().unwrap_or(self.root);
        let file = File::find(directory, name)?.ok_or_else(|| failed("stat")(Errno::NOENT))?;
        self.write(parent, &file, Kind::Directory, None)
    }

    /// Writes one entry, with its data unless it is a link to `source`.
    fn write(&mut self, path: &[u8], file: &File<'_>, kind: Kind, source: Option<&[u8]>) -> Result<()> {
        let stat = &file.stat;
        let link = match (source, kind) {
            (Some(source), _) => source.to_vec(),
            (None, Kind::Symlink) => file.read_link()?,
            (None, _) => Vec::new(),
        };
        let size = if kind == Kind::File && source.is_none() { file.size() } else { 0 };
        let name = if kind == Kind::Directory {
            self.written.insert(path.to_vec());
            [path, b"/"].concat()
        } else {
            path.to_vec()
        };
        let xattrs = file.xattrs()?;
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => (fs::major(stat.st_rdev), fs::minor(stat.st_rdev)),
            _ => (0, 0),
        };
        let latest = self.epoch.map_or(i64::MAX, |epoch| epoch.seconds);
        let data = if size > 0 { Some(file.open()?) } else { None };
        self.tar.member(&Member {
            kind: if source.is_some() { Kind::Hardlink } else { kind },
            path: &name,
            link: &link,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime.min(latest),
            size,
            device,
            xattrs: &xattrs,
        })?;
        data.map_or(Ok(()), |data| self.copy(&data, size))
    }

    fn copy(&mut self, file: &rustix::fd::OwnedFd, size: u64) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match rustix::io::read(file, &mut self.buffer[..most]) {
                Ok(0) => return Err(Error::aborted("file became shorter while it was read")),
                Ok(len) => {
                    self.tar.data(&self.buffer[..len])?;
                    left -= len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read")(errno)),
            }
        }
        Ok(())
    }
}
