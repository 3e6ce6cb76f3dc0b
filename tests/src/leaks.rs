//! What a daemon and its containers can leave on the machine, how to find it and how to remove it.
//!
//! Everything is found by the daemon's own directory or by its namespace, which no other test shares.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// Where runc keeps its state under every shim that is not told otherwise.
const RUNC_ROOT: &str = "/run/containerd/runc";

/// Marks of one daemon: its directory and the namespace its containers are in.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Root, state and socket are under it.
    pub dir: PathBuf,
    /// The namespace, unique on this machine.
    pub namespace: String,
}

impl Traces {
    /// Everything that is still there, one line each.
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.processes().iter().map(|(pid, what)| format!("process {pid}: {what}")).collect();
        found.extend(mounts_under(&self.dir).iter().map(|m| format!("mount {}", m.display())));
        found.extend(
            self.cgroups().iter().filter(|c| !self.is_namespace_cgroup(c)).map(|c| format!("cgroup {}", c.display())),
        );
        found.extend(entries(&self.runc_dir()).iter().map(|d| format!("runc state {}", d.display())));
        let bundles = self.dir.join("state/io.containerd.runtime.v2.task").join(&self.namespace);
        found.extend(entries(&bundles).iter().map(|d| format!("bundle {}", d.display())));
        found
    }

    /// Ends and removes everything that is still there.
    pub fn remove(&self) {
        crate::eventually("killed processes to be gone", || {
            let left = self.processes();
            // Again and again: one may have started another just before it was killed.
            for pid in left.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            left.is_empty()
        });
        for mount in mounts_under(&self.dir).iter().rev() {
            let _ = unmount(mount, UnmountFlags::DETACH);
        }
        for cgroup in self.cgroups() {
            drop(fs::remove_dir(cgroup));
        }
        drop(fs::remove_dir_all(self.runc_dir()));
    }

    /// Processes that name our directory or namespace on their command line, or are in our cgroups.
    fn processes(&self) -> Vec<(i32, String)> {
        let dir = format!("{}/", self.dir.display());
        let cgroup = format!(":/{}/", self.namespace);
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut found = Vec::new();
        for path in entries(Path::new("/proc")) {
            let Some(pid) = path.file_name().and_then(|n| n.to_str()?.parse::<i32>().ok()) else { continue };
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let cgroups = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
            let is_zombie = command.is_empty();
            let ours = command.contains(&dir) || command.split(' ').any(|word| word == self.namespace);
            if pid != own && !is_zombie && (ours || cgroups.contains(&cgroup)) {
                found.push((pid, command));
            }
        }
        found
    }

    /// Our cgroups in every hierarchy, deepest first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let mut found = Vec::new();
        for top in entries(root).into_iter().chain([root.to_path_buf()]) {
            // /sys/fs/cgroup/cpu and the like may be links to a joint hierarchy.
            if !top.is_symlink() {
                collect_dirs(&top.join(&self.namespace), &mut found);
            }
        }
        found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        found
    }

    /// runc removes a container's cgroup and leaves its parent, under every daemon.
    fn is_namespace_cgroup(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == self.namespace.as_str())
    }

    fn runc_dir(&self) -> PathBuf {
        Path::new(RUNC_ROOT).join(&self.namespace)
    }
}

/// Mount points under a directory, in the order they were mounted.
#[must_use]
pub fn mounts_under(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let points =
        table.lines().filter_map(|line| line.split(' ').nth(4)).map(|p| PathBuf::from(p.replace("\\040", " ")));
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Paths in a directory; none when it does not exist.
#[must_use]
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn collect_dirs(dir: &Path, found: &mut Vec<PathBuf>) {
    if dir.is_dir() {
        entries(dir).iter().filter(|path| path.is_dir()).for_each(|path| collect_dirs(path, found));
        found.push(dir.to_path_buf());
    }
}
