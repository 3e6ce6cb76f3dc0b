//! A tar stream becomes a directory tree.
//!
//! Paths are resolved by the kernel inside the root (`openat2` with `RESOLVE_IN_ROOT`): no string decides where a file
//! goes. Only the last component is named, relative to a directory that is held open. See [`tree::Tree`].

mod create;
mod parents;
mod reconcile;
mod remove;
mod target;
mod tree;
mod whiteout;

#[cfg(test)]
mod tests;

pub(crate) use reconcile::{keeps_marks, reconcile};
pub(super) use target::{Target, lower_directories, option};

use super::{
    input::Input,
    options::IdMap,
    rooted::{clean, shown, split},
    tar::{Kind, Reader},
};
use model::Result;
use target::Whiteouts;
use tree::Tree;

/// Unpacks the archive in `input` into `target`.
pub(super) fn extract(input: &mut Input, target: &Target, ids: Option<&IdMap>) -> Result<()> {
    let mut tree = Tree::open(target, ids)?;
    unpack(&mut tree, input)?;
    tree.finish()?;
    if let Whiteouts::Overlay { user_xattr } = target.whiteouts
        && !target.below.is_empty()
    {
        reconcile(&target.root, &target.below, user_xattr)?;
    }
    Ok(())
}

fn unpack(tree: &mut Tree<'_>, input: &mut Input) -> Result<()> {
    let mut reader = Reader::new(input);
    while let Some(entry) = reader.next_entry()? {
        let path = clean(&entry.path);
        let is_device = matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice);
        if is_device && tree.in_user_namespace {
            tracing::warn!(path = %shown(&path), "device ignored: not possible in a user namespace");
            continue;
        }
        let applied = match split(&path) {
            // The root itself is the snapshotter's.
            None => Ok(()),
            Some((parent, name)) => match whiteout::Whiteout::of(name)? {
                Some(whiteout) => tree.whiteout(parent, whiteout, &entry),
                None => tree.create(parent, name, &entry, &mut reader),
            },
        };
        applied.and_then(|()| tree.check_kept()).map_err(|error| error.context(shown(&entry.path)))?;
    }
    Ok(())
}
