//! overlayfs: each snapshot is one directory of changes, shown stacked on those of its parents.
//!
//! ```text
//! <root>/snapshots/<id>/fs      what the snapshot changes
//! <root>/snapshots/<id>/work    overlayfs's own, beside an active one
//! ```
//!
//! That is containerd's own layout, without its metadata.db.

use super::{Capability, Commit, Driver, Live, Snapshot, directories::Directories, usage::usage};
use crate::layers;
use model::{Error, Labels, Mount, Result, SnapshotKind, Usage};
use rustix::fs::FileType;
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown},
    path::{Path, PathBuf},
};
use sys::idmap::{self, IdMap};

const UID_MAP: &str = "containerd.io/snapshot/uidmapping";
const GID_MAP: &str = "containerd.io/snapshot/gidmapping";
const UPPER_DIR: &str = "containerd.io/snapshot/overlay.upperdir";
/// The mount option by which overlayfs keeps its attributes in `user`.
const USER_XATTR: &str = "userxattr";
/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: i64 = 0x0102_1994;

/// The snapshotter's configuration, under containerd's names.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Show where each snapshot's own directory is, as label `containerd.io/snapshot/overlay.upperdir`.
    pub upperdir_label: bool,
    /// Delete a snapshot's files when it is removed, not with the next cleanup.
    pub sync_remove: bool,
    /// Let clients copy a snapshot to change its owners where they cannot be shifted.
    pub slow_chown: bool,
    /// Options for every overlay mount.
    pub mount_options: Vec<String>,
}

/// The overlayfs snapshotter.
#[derive(Debug)]
pub struct Overlay {
    directories: Directories,
    config: Config,
    capabilities: Vec<Capability>,
}

impl Overlay {
    /// Opens the snapshots in `root`.
    ///
    /// # Errors
    /// `FailedPrecondition` on a file system whose directories do not tell the type of their entries, since
    /// overlayfs misbehaves there.
    pub fn open(root: &Path, mut config: Config) -> Result<Self> {
        let directories = Directories::open(root)?;
        let failed = |error| Error::io(format!("look at the file system of {}", root.display()), error);
        if !tells_types(root).map_err(failed)? {
            return Err(Error::failed_precondition(format!(
                "{} does not support d_type (xfs: reformat with ftype=1)",
                root.display()
            )));
        }
        let in_user_namespace = in_user_namespace();
        let tmpfs = rustix::fs::statfs(root).is_ok_and(|statfs| statfs.f_type == TMPFS);
        let options = &mut config.mount_options;
        if in_user_namespace && !tmpfs && !has_option(options, USER_XATTR) {
            options.push(USER_XATTR.into());
        }
        // The last of two counts, so a configured index=on would be undone.
        if !has_option(options, "index") && Path::new("/sys/module/overlay/parameters/index").exists() {
            options.push("index=off".into());
        }
        let mut capabilities = Vec::new();
        if idmap::supported(root) {
            capabilities.push(Capability::RemapIds);
        }
        if !config.slow_chown {
            capabilities.push(Capability::OnlyRemapIds);
        }
        // A layer unpacked without its parents holds whiteouts as devices, which a user namespace cannot make, and
        // marks for `reconcile`. Clients say to the applier that the layer is an overlay's, but not with which options.
        let plain = !in_user_namespace && !has_option(&config.mount_options, USER_XATTR);
        if plain && layers::keeps_marks(directories.root()) {
            capabilities.push(Capability::Rebase);
        }
        Ok(Self { directories, config, capabilities })
    }

    fn upper(&self, id: u64) -> PathBuf {
        self.directories.path(id).join("fs")
    }

    /// Who is to own the root of a new snapshot: the mapped root, or whoever owns the parent's.
    fn owner(&self, snapshot: &Snapshot<'_>) -> Result<Option<(u32, u32)>> {
        let map = |key: &str| snapshot.labels.get(key).map(|text| text.parse::<IdMap>()).transpose();
        let (uids, gids) = (map(UID_MAP)?, map(GID_MAP)?);
        if uids.is_some() || gids.is_some() {
            // A map that is not given maps nothing away from itself.
            let root = |map: Option<IdMap>| map.map_or(Some(0), |map| map.to_host(0));
            let unmapped = || Error::invalid_argument(format!("snapshot {}: its id maps leave out root", snapshot.key));
            return root(uids).zip(root(gids)).map(Some).ok_or_else(unmapped);
        }
        let Some(parent) = snapshot.parents.first() else { return Ok(None) };
        let metadata = fs::metadata(self.upper(*parent));
        let metadata = metadata.map_err(|error| Error::io(format!("look at the parent of {}", snapshot.key), error))?;
        Ok(Some((metadata.uid(), metadata.gid())))
    }

    fn mount(&self, snapshot: &Snapshot<'_>) -> Mount {
        let mut options = Vec::new();
        if self.capabilities.contains(&Capability::RemapIds) {
            let map = |name: &str, key: &str| snapshot.labels.get(key).map(|map| format!("{name}={map}"));
            options.extend(map("uidmap", UID_MAP));
            options.extend(map("gidmap", GID_MAP));
        }
        let writable = snapshot.kind == SnapshotKind::Active;
        let bind = match snapshot.parents {
            [] => Some(snapshot.id),
            [only] if !writable => Some(*only),
            _ => None,
        };
        if let Some(id) = bind {
            options.extend([if writable { "rw" } else { "ro" }, "rbind"].map(String::from));
            let source = self.upper(id).display().to_string();
            return Mount { fs_type: "bind".into(), source, target: String::new(), options };
        }
        if writable {
            options.push(format!("workdir={}", self.directories.path(snapshot.id).join("work").display()));
            options.push(format!("upperdir={}", self.upper(snapshot.id).display()));
        }
        let lower: Vec<String> = snapshot.parents.iter().map(|id| self.upper(*id).display().to_string()).collect();
        options.push(format!("lowerdir={}", lower.join(":")));
        options.extend(self.config.mount_options.iter().cloned());
        Mount { fs_type: "overlay".into(), source: "overlay".into(), target: String::new(), options }
    }
}

impl Driver for Overlay {
    fn capabilities(&self) -> Vec<Capability> {
        self.capabilities.clone()
    }

    fn exports(&self) -> Labels {
        Labels::from([("root".into(), self.directories.root().display().to_string())])
    }

    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        let owner = self.owner(snapshot)?;
        self.directories.create(snapshot, |dir| {
            let upper = dir.join("fs");
            DirBuilder::new().mode(0o755).create(&upper)?;
            if snapshot.kind == SnapshotKind::Active {
                DirBuilder::new().mode(0o711).create(dir.join("work"))?;
            }
            owner.map_or(Ok(()), |(uid, gid)| lchown(&upper, Some(uid), Some(gid)))
        })?;
        Ok(vec![self.mount(snapshot)])
    }

    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        Ok(vec![self.mount(snapshot)])
    }

    fn reconcile(&self, snapshot: &Snapshot<'_>, parents: &[u64]) -> Result<bool> {
        let below = match parents {
            [] => Vec::new(),
            _ => vec![self.mount(&Snapshot { kind: SnapshotKind::View, parents, ..*snapshot })],
        };
        let user_xattr = has_option(&self.config.mount_options, USER_XATTR);
        let reconciled = layers::reconcile(&self.upper(snapshot.id), &below, user_xattr);
        reconciled.map_err(|error| error.context(format!("fit snapshot {} to its parent", snapshot.key)))
    }

    fn settle(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        self.directories.settle(snapshot)
    }

    fn commit(&self, _snapshot: &Snapshot<'_>, _commit: &Commit<'_>) -> Result<()> {
        // Which parents it has is the store's business: nothing on disk knows them.
        Ok(())
    }

    fn usage(&self, snapshot: &Snapshot<'_>) -> Result<Usage> {
        usage(&self.upper(snapshot.id)).map_err(|error| Error::io(format!("measure snapshot {}", snapshot.key), error))
    }

    fn labels(&self, snapshot: &Snapshot<'_>) -> Result<Labels> {
        let upper = self.config.upperdir_label.then(|| self.upper(snapshot.id).display().to_string());
        Ok(upper.map(|upper| (UPPER_DIR.to_owned(), upper)).into_iter().collect())
    }

    fn remove(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let discarded = self.directories.discard(snapshot.id);
        discarded.map_err(|error| Error::io(format!("remove snapshot {}", snapshot.key), error))?;
        if self.config.sync_remove { self.directories.delete_discarded() } else { Ok(()) }
    }

    fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        self.directories.cleanup(live)
    }
}

/// Whether `options` has `key`, alone or with a value.
fn has_option(options: &[String], key: &str) -> bool {
    options.iter().any(|option| option.split('=').next() == Some(key))
}

/// Whether directories in `dir` say of their entries what they are.
fn tells_types(dir: &Path) -> io::Result<bool> {
    // `snapshots` is there, so there is an entry besides the dots.
    for entry in rustix::fs::Dir::read_from(fs::File::open(dir)?)? {
        let entry = entry?;
        if entry.file_name() == c"snapshots" {
            return Ok(entry.file_type() == FileType::Directory);
        }
    }
    Ok(false)
}

/// Whether this process's user namespace maps less than everything, that is, is not the first one.
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    // A kernel without user namespaces has no such file.
    !map.is_empty() && fields != ["0", "0", "4294967295"]
}
