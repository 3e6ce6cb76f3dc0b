//! A directory tree becomes a tar stream: what has to be unpacked onto `lower` to get `upper`.
//!
//! Both sides are walked together, in the order of names. If `upper` is an overlay whose lower directories are `lower`,
//! its upper directory tells where there can be differences at all, and nothing else is looked at ([`roots`]).
//! The stream is what Go containerd would write: the same trees give the same DiffID.

mod compare;
mod emit;
mod file;
mod roots;
mod walk;

pub(super) use roots::Roots;

use model::{Result, Timestamp};
use std::io::Write;

/// Writes the uncompressed layer to `out`.
pub(super) fn write<W: Write>(roots: &Roots, epoch: Option<Timestamp>, out: W) -> Result<W> {
    let mut emitter = emit::Emitter::new(&roots.upper, epoch, out);
    walk::walk(roots, &mut emitter)?;
    emitter.finish()
}
