//! Where a layer goes: a directory, and how deletions are written there.

use model::{Error, Mount, Result};
use std::{fs, path::PathBuf};

/// How a deletion is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::layers) enum Whiteouts {
    /// Not at all: the file is removed.
    Delete,
    /// As overlayfs has it: a device 0:0 for a file, an attribute for a directory.
    Overlay {
        /// Whether the attribute is in the `user` namespace (mount option `userxattr`) rather than in `trusted`.
        user_xattr: bool,
    },
}

/// A directory to unpack into.
#[derive(Clone, Debug)]
pub(in crate::layers) struct Target {
    pub(in crate::layers) root: PathBuf,
    pub(in crate::layers) whiteouts: Whiteouts,
    /// What shows through an overlay's upper directory, if the mount says so.
    pub(in crate::layers) below: Vec<Mount>,
}

impl Target {
    /// A plain directory.
    pub(in crate::layers) fn directory(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), whiteouts: Whiteouts::Delete, below: Vec::new() }
    }

    /// The directory that `mounts` would make writable, if it can be written without mounting anything.
    pub(in crate::layers) fn without_mounting(mounts: &[Mount]) -> Result<Option<Self>> {
        let [mount] = mounts else { return Ok(None) };
        if !mount.target.is_empty() {
            return Ok(None);
        }
        let has = |wanted: &str| mount.options.iter().any(|option| option == wanted);
        match mount.fs_type.as_str() {
            "bind" | "rbind" if has("ro") => {
                Err(Error::failed_precondition(format!("{}: mounted read-only", mount.source)))
            }
            // An idmapped mount changes the owners that are written.
            "bind" | "rbind" if !mount.options.iter().any(|option| is_id_map(option)) => {
                Ok(Some(Self::directory(&mount.source)))
            }
            // The kernel makes the whiteouts there; mknod of a device fails in a user namespace.
            "overlay" if in_user_namespace() => Ok(None),
            "overlay" => {
                let Some(upper) = option(mount, "upperdir=") else { return Ok(None) };
                let whiteouts = Whiteouts::Overlay { user_xattr: has("userxattr") };
                Ok(Some(Self { root: upper.into(), whiteouts, below: below(mount) }))
            }
            _ => Ok(None),
        }
    }
}

/// What an overlay shows without its upper directory. A single lower directory makes no overlay.
fn below(mount: &Mount) -> Vec<Mount> {
    let lowers = option(mount, "lowerdir=").map(lower_directories).unwrap_or_default();
    match &lowers[..] {
        [] => Vec::new(),
        [only] => vec![Mount { fs_type: "bind".into(), source: only.display().to_string(), ..Mount::default() }],
        _ => {
            let mut overlay = mount.clone();
            overlay.options.retain(|option| !option.starts_with("upperdir=") && !option.starts_with("workdir="));
            vec![overlay]
        }
    }
}

/// The value of the mount option that begins with `key`.
pub(in crate::layers) fn option<'a>(mount: &'a Mount, key: &str) -> Option<&'a str> {
    mount.options.iter().find_map(|option| option.strip_prefix(key))
}

/// The directories of a `lowerdir` option, in which a backslash takes a colon's meaning away.
pub(in crate::layers) fn lower_directories(value: &str) -> Vec<PathBuf> {
    let mut directories = vec![String::new()];
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => directories.push(String::new()),
            '\\' => directories.last_mut().map_or((), |last| last.extend(characters.next())),
            other => directories.last_mut().map_or((), |last| last.push(other)),
        }
    }
    directories.into_iter().filter(|directory| !directory.is_empty()).map(PathBuf::from).collect()
}

fn is_id_map(option: &str) -> bool {
    option.starts_with("uidmap=") || option.starts_with("gidmap=")
}

/// Whether we run in a user namespace other than the first: there, devices cannot be made.
pub(super) fn in_user_namespace() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, options: &[&str]) -> Mount {
        Mount {
            fs_type: fs_type.into(),
            source: "/source".into(),
            target: String::new(),
            options: options.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn overlays_and_binds_are_written_directly() {
        let overlay = mount("overlay", &["index=off", "workdir=/w", "upperdir=/u", r"lowerdir=/l/2:/l/1\:a"]);
        let target = Target::without_mounting(&[overlay]).unwrap().unwrap();
        assert_eq!(target.root, PathBuf::from("/u"));
        assert_eq!(target.below, [mount("overlay", &["index=off", r"lowerdir=/l/2:/l/1\:a"])]);
        assert_eq!(target.whiteouts, Whiteouts::Overlay { user_xattr: false });

        let one =
            Target::without_mounting(&[mount("overlay", &["upperdir=/u", r"lowerdir=/l/1\:a"])]).unwrap().unwrap();
        assert_eq!((one.below[0].fs_type.as_str(), one.below[0].source.as_str()), ("bind", "/l/1:a"));
        let apart = Target::without_mounting(&[mount("overlay", &["rw", "upperdir=/u"])]).unwrap().unwrap();
        assert!(apart.below.is_empty() && apart.whiteouts != Whiteouts::Delete);

        let bind = Target::without_mounting(&[mount("bind", &["rw", "rbind"])]).unwrap().unwrap();
        assert_eq!((bind.root, bind.whiteouts), (PathBuf::from("/source"), Whiteouts::Delete));
    }

    #[test]
    fn the_rest_is_mounted_or_refused() {
        for mounts in [
            vec![],
            vec![mount("ext4", &[])],
            vec![mount("overlay", &["lowerdir=/a:/b"])],
            vec![mount("bind", &["rw", "uidmap=0:1000:1"])],
            vec![mount("bind", &["rw"]), mount("bind", &["rw"])],
        ] {
            assert!(Target::without_mounting(&mounts).unwrap().is_none(), "{mounts:?}");
        }
        assert!(Target::without_mounting(&[mount("bind", &["ro", "rbind"])]).is_err());
    }
}
