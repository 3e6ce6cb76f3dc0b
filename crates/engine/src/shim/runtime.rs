//! From a runtime's name to the shim binary that serves it.

use model::{Error, Result};
use std::{
    collections::HashMap,
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Finds shims, and remembers where they were.
#[derive(Debug)]
pub(crate) struct Runtimes {
    /// Searched after `PATH`.
    search: Vec<PathBuf>,
    /// By binary name. Bounded, as the next, by the number of binaries that exist.
    found: Mutex<HashMap<String, PathBuf>>,
    /// By path: whether the shim predates bootstrap params, as of the file's time.
    old: Mutex<HashMap<PathBuf, (Option<SystemTime>, bool)>>,
}

impl Runtimes {
    pub(crate) fn new(search: Vec<PathBuf>) -> Self {
        Self { search, found: Mutex::default(), old: Mutex::default() }
    }

    /// What [`Self::remember_old`] was told of `shim`, unless the file has changed.
    pub(super) fn is_old(&self, shim: &Path) -> Option<bool> {
        let old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        old.get(shim).filter(|(time, _)| *time == modified(shim)).map(|&(_, old)| old)
    }

    /// Remembers whether `shim` predates bootstrap params.
    pub(super) fn remember_old(&self, shim: &Path, is_old: bool) {
        let entry = (modified(shim), is_old);
        self.old.lock().unwrap_or_else(PoisonError::into_inner).insert(shim.to_owned(), entry);
    }

    /// The binary of `runtime`, a name (`io.containerd.runc.v2` is `containerd-shim-runc-v2`) or an
    /// absolute path.
    ///
    /// # Errors
    /// Of the kind containerd answers (`Unknown`, or `NotFound` of a file), naming the runtime.
    pub(crate) fn resolve(&self, runtime: &str) -> Result<PathBuf> {
        if runtime.is_empty() {
            return Err(Error::unknown("no runtime name"));
        }
        let path = Path::new(runtime);
        if path.is_absolute() {
            return match path.metadata() {
                Ok(_) => Ok(path.to_owned()),
                Err(error) => Err(Error::unknown(format!("invalid custom binary path {runtime}")).caused_by(error)),
            };
        }
        let name = binary_name(runtime).ok_or_else(|| {
            Error::unknown(format!(
                "invalid runtime name {runtime}, correct runtime name should be either format like \
                 `io.containerd.runc.v2` or a full path to the binary"
            ))
        })?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = found.get(&name).filter(|path| is_executable(path)) {
            return Ok(path.clone());
        }
        let path = env::var_os("PATH");
        let folders = path.iter().flat_map(env::split_paths).filter(|folder| folder.is_absolute());
        let path = folders
            .chain(self.search.iter().cloned())
            .map(|folder| folder.join(&name))
            .find(|path| is_executable(path))
            .ok_or_else(|| {
                Error::unknown(format!("runtime {runtime:?} binary not installed {name:?}: file does not exist"))
            })?;
        found.insert(name, path.clone());
        Ok(path)
    }
}

/// `<prefix>.<name>.<version>` is `containerd-shim-<name>-<version>`.
fn binary_name(runtime: &str) -> Option<String> {
    if runtime.contains('/') {
        return None;
    }
    let parts: Vec<&str> = runtime.split('.').collect();
    match parts.as_slice() {
        ["", ..] => None,
        [.., name, version] => Some(format!("containerd-shim-{name}-{version}")),
        _ => None,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_become_binaries_and_paths_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("containerd-shim-odd-v7");
        let runtimes = Runtimes::new(vec![folder.path().to_owned()]);
        let error = runtimes.resolve("io.containerd.odd.v7").unwrap_err();
        assert!(error.to_string().contains("binary not installed"), "{error}");
        fs::write(&shim, "").unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(runtimes.resolve("io.containerd.odd.v7").unwrap(), shim);
        assert_eq!(runtimes.resolve(shim.to_str().unwrap()).unwrap(), shim);
        fs::remove_file(&shim).unwrap();
        for bad in ["", "odd", ".odd.v7", "../odd.v7", "odd/x.v7", "io.containerd.odd.v7", shim.to_str().unwrap()] {
            assert!(runtimes.resolve(bad).is_err(), "{bad}");
        }
    }
}
