//! Walks both trees at once, in the order of names, and finds what changed.

use super::{compare, emit::Emitter, file::File, roots::Roots};
use crate::layers::{
    rooted::{Directory, MAX_DEPTH, failed, join, shown},
    xattr,
};
use model::{Error, Result};
use rustix::{
    fs::{self, Dir},
    io::Errno,
};
use std::{collections::BTreeSet, io::Write, rc::Rc, vec};

/// A directory being walked, on both sides. Shared with nothing; reference counted since its files borrow it.
struct Level {
    lower: Option<Rc<Directory>>,
    upper: Rc<Directory>,
    changes: Option<Rc<Directory>>,
    path: Vec<u8>,
    names: vec::IntoIter<Vec<u8>>,
}

/// Tells `emitter` all that differs between the trees.
pub(super) fn walk<W: Write>(roots: &Roots, emitter: &mut Emitter<'_, W>) -> Result<()> {
    let again = |directory: &Directory| {
        let fd = rustix::io::fcntl_dupfd_cloexec(&directory.fd, 0).map_err(failed("open root"))?;
        Directory::new(fd).map(Rc::new).map_err(failed("stat root"))
    };
    let lower = roots.lower.as_ref().map(again).transpose()?;
    let changes = roots.changes.as_ref().map(again).transpose()?;
    let mut levels = vec![Level::new(lower, again(&roots.upper)?, changes, Vec::new())?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            levels.pop();
            continue;
        };
        let path = join(&level.path, &name);
        let below = level.visit(&name, &path, emitter).map_err(|error| error.context(shown(&path)))?;
        if let Some(below) = below {
            if levels.len() >= MAX_DEPTH {
                let message = format!("{}: more than {MAX_DEPTH} directories deep", shown(&path));
                return Err(Error::failed_precondition(message));
            }
            levels.push(below);
        }
    }
    Ok(())
}

impl Level {
    fn new(
        lower: Option<Rc<Directory>>,
        upper: Rc<Directory>,
        changes: Option<Rc<Directory>>,
        path: Vec<u8>,
    ) -> Result<Self> {
        let mut names = BTreeSet::new();
        let changes = match changes {
            Some(changes) if lower.is_none() || !is_merged(&changes)? => None,
            changes => changes,
        };
        match &changes {
            Some(changes) => list(changes, &mut names)?,
            None => {
                lower.as_ref().map_or(Ok(()), |lower| list(lower, &mut names))?;
                list(&upper, &mut names)?;
            }
        }
        Ok(Self { lower, upper, changes, path, names: names.into_iter().collect::<Vec<_>>().into_iter() })
    }

    /// Compares one name; returns the directory to walk next, if it is one.
    fn visit<W: Write>(&self, name: &[u8], path: &[u8], emitter: &mut Emitter<'_, W>) -> Result<Option<Self>> {
        let lower = self.lower.as_ref().map(|lower| File::find(lower, name)).transpose()?.flatten();
        // A socket is not in a layer, so what it hides is deleted.
        let upper = File::find(&self.upper, name)?.filter(|file| file.kind().is_some());
        let upper = match (&lower, upper) {
            (None, None) => return Ok(None),
            (Some(lower), None) => {
                // A socket below came with no layer, and no layer takes it away.
                lower.kind().map_or(Ok(()), |_| emitter.deleted(path))?;
                return Ok(None);
            }
            (None, Some(upper)) => {
                emitter.changed(path, &upper)?;
                upper
            }
            (Some(lower), Some(upper)) => {
                if compare::same(lower, &upper)? {
                    emitter.same(path, &upper)?;
                } else {
                    emitter.changed(path, &upper)?;
                }
                upper
            }
        };
        if !upper.is_directory() {
            return Ok(None);
        }
        let lower = lower.filter(File::is_directory).map(|lower| lower.enter().map(Rc::new)).transpose()?;
        let changes = self.changes.as_ref().map(|changes| changed_directory(changes, name)).transpose()?.flatten();
        if self.changes.is_some() && lower.is_some() && changes.is_none() {
            // Not in the overlay's upper directory: nothing in it differs.
            return Ok(None);
        }
        Self::new(lower, Rc::new(upper.enter()?), changes.map(Rc::new), path.to_vec()).map(Some)
    }
}

fn changed_directory(changes: &Directory, name: &[u8]) -> Result<Option<Directory>> {
    match File::find(changes, name)? {
        Some(file) if file.is_directory() => file.enter().map(Some),
        _ => Ok(None),
    }
}

/// Whether an overlay's upper directory shows through to the one below: neither opaque nor come from elsewhere.
fn is_merged(directory: &Directory) -> Result<bool> {
    for name in ["opaque", "redirect"] {
        for namespace in ["trusted", "user"] {
            let name = format!("{namespace}.overlay.{name}");
            match xattr::get(|buffer| fs::fgetxattr(&directory.fd, &name, buffer)) {
                // overlayfs marks a directory that merely contains whiteouts as attributes with an `x`.
                Ok(value) if value == b"x" => {}
                Ok(_) => return Ok(false),
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => return Err(failed("read overlay attribute")(errno)),
            }
        }
    }
    Ok(true)
}

fn list(directory: &Directory, names: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    for entry in Dir::read_from(&directory.fd).map_err(failed("read directory"))? {
        let entry = entry.map_err(failed("read directory"))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.insert(name.to_vec());
        }
    }
    Ok(())
}
