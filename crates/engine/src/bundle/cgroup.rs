//! Cgroups of a container that was cut off: a killed OCI runtime removes none.

use super::Bundle;
use std::{fs, io, path::Path, thread, time::Duration};

/// Where the hierarchies are: each in a folder of its own, or the one of version 2 right here.
const ROOT: &str = "/sys/fs/cgroup";
/// How often, and how far apart, a cgroup whose processes are still ending is tried.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Removes the empty cgroups of the container in `bundle`. One with processes stays: it may not be
/// the container's alone.
pub(crate) fn remove(bundle: &Bundle) {
    let Some(spec) = bundle.read_spec() else { return };
    let Some(cgroup) = spec.cgroup() else { return };
    let root = Path::new(ROOT);
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(cgroup)) {
        if path.is_dir()
            && let Err(error) = remove_empty(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cgroup is left behind");
        }
    }
}

fn remove_empty(path: &Path) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempt < ATTEMPTS => thread::sleep(PAUSE),
            other => return other,
        }
        attempt += 1;
    }
}
