//! Bundles: the directory that a daemon and a shim share, laid out as containerd's.
//!
//! ```text
//! <state>/io.containerd.runtime.v2.task/<namespace>/<id>/
//!     config.json         the OCI spec
//!     rootfs/             where the shim mounts the root filesystem
//!     work                → <root>/io.containerd.runtime.v2.task/<namespace>/<id>
//!     log                 fifo, the shim's log
//!     shim-binary-path    which shim runs it
//!     bootstrap.json      how to reach the shim
//! ```
//!
//! A bundle without `bootstrap.json` is a start that was interrupted. Removal first renames to
//! `.<id>`, so that a bundle is never half there; what is left under such a name is removed when
//! the daemon next starts. The state directory does not survive a reboot, so nothing is synced.

mod cgroup;
mod remove;
mod spec;

pub(crate) use cgroup::remove as remove_cgroups;
pub(crate) use remove::{remove, sweep_hidden};
pub(crate) use spec::Spec;

use model::{Any, Error, Result};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

/// Below both `root` and `state`: containerd's id for the plugin that keeps bundles.
const FOLDER: &str = "io.containerd.runtime.v2.task";
/// The note that a task is deleted.
const DELETED: &str = "deleted";

/// The two folders that hold every bundle.
#[derive(Clone, Debug)]
pub(crate) struct Bundles {
    state: PathBuf,
    work: PathBuf,
}

/// One bundle's names; it need not exist.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    /// The task's id.
    pub(crate) id: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// The directory.
    pub(crate) path: PathBuf,
    /// Its persistent half.
    work: PathBuf,
}

impl Bundles {
    /// Makes both folders. Their mode lets containers in user namespaces pass through.
    pub(crate) fn open(root: &Path, state: &Path) -> Result<Self> {
        let bundles = Self { state: state.join(FOLDER), work: root.join(FOLDER) };
        for folder in [&bundles.state, &bundles.work] {
            create_folders(folder)?;
        }
        Ok(bundles)
    }

    /// The names of bundle `id`, which must be a valid identifier.
    pub(crate) fn bundle(&self, namespace: &str, id: &str) -> Bundle {
        Bundle {
            id: id.to_owned(),
            namespace: namespace.to_owned(),
            path: self.state.join(namespace).join(id),
            work: self.work.join(namespace).join(id),
        }
    }

    /// Every bundle there is.
    pub(crate) fn list(&self) -> Result<Vec<Bundle>> {
        let mut found = Vec::new();
        for namespace in folders(&self.state)? {
            found.extend(folders(&self.state.join(&namespace))?.iter().map(|id| self.bundle(&namespace, id)));
        }
        Ok(found)
    }

    /// Removes work directories whose bundle is gone, as after a reboot, and what earlier removals
    /// left under hidden names. Returns how many things were removed, or could not be.
    pub(crate) fn sweep(&self) -> Result<usize> {
        let mut count = sweep_hidden(&self.state) + sweep_hidden(&self.work);
        for namespace in folders(&self.work)? {
            for id in folders(&self.work.join(&namespace))? {
                let bundle = self.bundle(&namespace, &id);
                if !bundle.exists() {
                    count += 1;
                    remove::hide_and_remove(&bundle.work)?;
                }
            }
        }
        Ok(count)
    }
}

impl Bundle {
    /// Makes the bundle and writes `spec` into it; on an error nothing is left.
    ///
    /// # Errors
    /// `AlreadyExists` if it is there.
    pub(crate) fn create(&self, spec: Option<&Any>, remapped_gid: Option<u32>) -> Result<()> {
        if let Some(namespace) = self.path.parent() {
            create_folders(namespace)?;
        }
        let what = || format!("create bundle {}", self.path.display());
        fs::DirBuilder::new().mode(0o700).create(&self.path).map_err(|error| Error::io(what(), error))?;
        self.fill(spec, remapped_gid).map_err(|error| {
            let error = Error::io(what(), error);
            match remove(self) {
                Ok(()) => error,
                Err(left) => error.context(format!("and then: {left}")),
            }
        })
    }

    fn fill(&self, spec: Option<&Any>, remapped_gid: Option<u32>) -> io::Result<()> {
        if let Some(gid) = remapped_gid {
            chown(&self.path, None, Some(gid))?;
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o710))?;
        }
        fs::DirBuilder::new().mode(0o711).create(self.rootfs())?;
        if let Some(namespace) = self.work.parent() {
            fs::DirBuilder::new().mode(0o711).recursive(true).create(namespace)?;
        }
        if let Err(error) = fs::DirBuilder::new().mode(0o711).create(&self.work) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Left by a task whose bundle a reboot took.
            fs::remove_dir_all(&self.work)?;
            fs::DirBuilder::new().mode(0o711).create(&self.work)?;
        }
        symlink(&self.work, self.path.join("work"))?;
        match spec {
            Some(spec) => fs::write(self.path.join("config.json"), &spec.value),
            None => Ok(()),
        }
    }

    /// Where the shim mounts the root filesystem.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// The persistent half, for what is too large for the state directory.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// The shim's log fifo.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Notes that the task's deletion has been published: all that is left to do is to remove the bundle.
    pub(crate) fn note_deleted(&self) -> Result<()> {
        self.write(DELETED, b"", 0o600)
    }

    /// Whether that was noted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.path.join(DELETED).exists()
    }

    /// Whether the directory is there.
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Notes which shim runs this bundle. Written before the shim is, for whoever has to clean up.
    pub(crate) fn write_runtime(&self, shim: &Path) -> Result<()> {
        self.write("shim-binary-path", shim.as_os_str().as_encoded_bytes(), 0o600)
    }

    /// Which shim runs this bundle, if that was noted.
    pub(crate) fn read_runtime(&self) -> Option<PathBuf> {
        let path = fs::read_to_string(self.path.join("shim-binary-path")).ok()?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// The spec as it was written, if it can be read.
    fn read_spec(&self) -> Option<Spec> {
        serde_json::from_slice(&fs::read(self.path.join("config.json")).ok()?).ok()
    }

    /// Writes a small file so that it is there whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!(".{name}")));
        let write = || {
            fs::write(&temporary, content)?;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| Error::io(format!("write {}", path.display()), error))
    }
}

fn create_folders(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o711)
        .recursive(true)
        .create(path)
        .map_err(|error| Error::io(format!("create {}", path.display()), error))
}

/// The visible directories in `path`; none if it is not there.
fn folders(path: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io(format!("list {}", path.display()), error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Identifiers are ASCII, so a name that is not UTF-8 is not ours.
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundles(folder: &tempfile::TempDir) -> Bundles {
        Bundles::open(&folder.path().join("root"), &folder.path().join("state")).unwrap()
    }

    #[test]
    fn a_bundle_has_containerds_layout_and_goes_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let bundles = bundles(&folder);
        let bundle = bundles.bundle("default", "c");
        let spec = Any { type_url: String::new(), value: b"{}".to_vec() };
        bundle.create(Some(&spec), Some(100_000)).unwrap();
        assert_eq!(bundle.create(Some(&spec), None).unwrap_err().kind(), model::Kind::AlreadyExists);
        assert_eq!(fs::read(bundle.path.join("config.json")).unwrap(), b"{}");
        assert_eq!(fs::metadata(&bundle.path).unwrap().permissions().mode() & 0o777, 0o710);
        let work = fs::read_link(bundle.path.join("work")).unwrap();
        assert_eq!(work, folder.path().join("root/io.containerd.runtime.v2.task/default/c"));
        assert!(work.is_dir());
        assert_eq!(bundles.list().unwrap().len(), 1);

        bundle.write_runtime(Path::new("/bin/shim")).unwrap();
        assert_eq!(bundle.read_runtime().unwrap(), Path::new("/bin/shim"));
        remove(&bundle).unwrap();
        assert!(bundles.list().unwrap().is_empty() && !work.exists());
        remove(&bundle).unwrap();
    }

    #[test]
    fn a_sweep_removes_what_an_interrupted_removal_or_a_reboot_left() {
        let folder = tempfile::tempdir().unwrap();
        let bundles = bundles(&folder);
        let (live, gone) = (bundles.bundle("default", "live"), bundles.bundle("default", "gone"));
        live.create(None, None).unwrap();
        gone.create(None, None).unwrap();
        fs::remove_dir_all(&gone.path).unwrap();
        fs::create_dir_all(live.path.with_file_name(".half").join("rootfs")).unwrap();
        assert_eq!(bundles.sweep().unwrap(), 2);
        assert!(live.exists() && live.work.is_dir() && !gone.work.exists());
        assert_eq!(fs::read_dir(live.path.parent().unwrap()).unwrap().count(), 1);
    }
}
