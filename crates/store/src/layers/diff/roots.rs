//! The two trees to compare, and where they can differ.

use crate::layers::{
    apply::{lower_directories, option},
    reach::{open, reach},
    rooted::Directory,
};
use model::{Error, Mount, Result};
use std::path::PathBuf;
use sys::mount::TempMount;

/// The trees, open.
#[derive(Debug)]
pub(in crate::layers) struct Roots {
    /// `None` if there is nothing below.
    pub(super) lower: Option<Directory>,
    pub(super) upper: Directory,
    /// The upper directory of an overlay over `lower`: what is not in it does not differ.
    pub(super) changes: Option<Directory>,
    /// Keep what is mounted for as long as it is read.
    _mounted: Vec<TempMount>,
}

impl Roots {
    /// Makes both sides readable, mounting what cannot be read where it is.
    pub(in crate::layers) fn open(lower: &[Mount], upper: &[Mount]) -> Result<Self> {
        if upper.is_empty() {
            return Err(Error::invalid_argument("diff: no mounts of the upper side"));
        }
        let mut mounted = Vec::new();
        let changes = changes(lower, upper).map(|path| open(&path)).transpose()?;
        let lower = if lower.is_empty() { None } else { Some(reach(lower, &mut mounted)?) };
        let upper = reach(upper, &mut mounted)?;
        Ok(Self { lower, upper, changes, _mounted: mounted })
    }
}

/// The upper directory of `upper`, if that is an overlay over exactly what `lower` shows.
fn changes(lower: &[Mount], upper: &[Mount]) -> Option<PathBuf> {
    let ([lower], [upper]) = (lower, upper) else { return None };
    let has = |wanted: &str| upper.options.iter().any(|option| option == wanted);
    // With an index, a file changed under one of its names changes under those in other directories, too; with
    // redirects, a directory can come from elsewhere.
    let plain = has("index=off") && !has("redirect_dir=on") && !has("redirect_dir=follow");
    if upper.fs_type != "overlay" || !plain {
        return None;
    }
    let directories = lower_directories(option(upper, "lowerdir=")?);
    let same = match lower.fs_type.as_str() {
        "bind" | "rbind" => directories == [PathBuf::from(&lower.source)],
        "overlay" => {
            option(lower, "upperdir=").is_none() && directories == lower_directories(option(lower, "lowerdir=")?)
        }
        _ => false,
    };
    same.then(|| option(upper, "upperdir=").map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, source: &str, options: &[&str]) -> Vec<Mount> {
        let options = options.iter().map(ToString::to_string).collect();
        vec![Mount { fs_type: fs_type.into(), source: source.into(), target: String::new(), options }]
    }

    #[test]
    fn an_overlay_over_the_lower_side_tells_its_changes() {
        let upper = mount("overlay", "overlay", &["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/2:/1"]);
        let same = mount("overlay", "overlay", &["index=off", "lowerdir=/2:/1"]);
        assert_eq!(changes(&same, &upper), Some(PathBuf::from("/u")));
        let one = mount("overlay", "overlay", &["index=off", "upperdir=/u", "lowerdir=/1"]);
        assert_eq!(changes(&mount("bind", "/1", &["ro", "rbind"]), &one), Some(PathBuf::from("/u")));

        for other in [
            mount("overlay", "overlay", &["index=off", "lowerdir=/3:/2:/1"]),
            mount("overlay", "overlay", &["index=off", "upperdir=/x", "lowerdir=/2:/1"]),
            mount("bind", "/1", &[]),
            vec![],
        ] {
            assert_eq!(changes(&other, &upper), None, "{other:?}");
        }
        let indexed = mount("overlay", "overlay", &["upperdir=/u", "lowerdir=/2:/1"]);
        assert_eq!(changes(&same, &indexed), None);
    }
}
