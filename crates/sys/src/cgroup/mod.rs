//! The control group of a process, on hosts with cgroup v1, v2 or both (which count as v1).

#[allow(unsafe_code, reason = "a process with our descriptors")]
mod migration;
mod oom;
mod read;

pub use migration::Forerunner;
pub use oom::OomWatch;
pub use read::{keyed, value};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// From the kernel's `magic.h`: the file system type of cgroup v2.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// A control group as absolute directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup {
    /// One directory per v1 controller, by its name (`name=systemd` for a named hierarchy).
    V1(BTreeMap<String, PathBuf>),
    /// The one v2 directory.
    V2(PathBuf),
}

impl Cgroup {
    /// The group `pid` is in.
    ///
    /// # Errors
    /// What reading `/proc` reports; `NotFound` when no controller is mounted.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        if is_unified() {
            let path = unified_path(&membership).ok_or_else(|| not_found("no cgroup v2 membership"))?;
            return Ok(Self::V2(below(Path::new(ROOT), Path::new(path))?));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut directories = BTreeMap::new();
        for (controllers, path) in memberships(&membership) {
            for controller in controllers.split(',').filter(|name| !name.is_empty()) {
                if let Some((root, mountpoint)) = v1_mount(&mounts, controller) {
                    let relative = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path));
                    directories.insert(controller.to_owned(), below(Path::new(mountpoint), relative)?);
                }
            }
        }
        if directories.is_empty() {
            Err(not_found("no cgroup controller is mounted"))
        } else {
            Ok(Self::V1(directories))
        }
    }

    /// The existing group `path`, given from the root of the hierarchies.
    ///
    /// # Errors
    /// `NotFound` when it exists under no controller, `InvalidInput` when it has `..` in it.
    pub fn at(path: &Path) -> io::Result<Self> {
        if is_unified() {
            let directory = below(Path::new(ROOT), path)?;
            fs::metadata(&directory)?;
            return Ok(Self::V2(directory));
        }
        let mut directories = BTreeMap::new();
        for entry in fs::read_dir(ROOT)? {
            let controller = entry?;
            let directory = below(&controller.path(), path)?;
            if directory.join("cgroup.procs").exists() {
                directories.insert(controller.file_name().to_string_lossy().into_owned(), directory);
            }
        }
        if directories.is_empty() { Err(not_found("no such cgroup")) } else { Ok(Self::V1(directories)) }
    }

    /// The directory where `controller` accounts for the group.
    pub fn controller(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V1(directories) => directories.get(controller).map(PathBuf::as_path),
            Self::V2(directory) => Some(directory),
        }
    }

    /// Moves `pid` into the group.
    ///
    /// # Errors
    /// What writing `cgroup.procs` reports, for the first controller that refuses.
    pub fn add_process(&self, pid: u32) -> io::Result<()> {
        let add = |directory: &PathBuf| fs::write(directory.join("cgroup.procs"), pid.to_string());
        match self {
            Self::V1(directories) => directories.values().try_for_each(add),
            Self::V2(directory) => add(directory),
        }
    }

    /// All processes of the group and the groups below it, each once, in ascending order.
    ///
    /// # Errors
    /// What reading the group reports.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let directory = match self {
            Self::V1(directories) => ["devices", "pids", "memory", "name=systemd"]
                .into_iter()
                .find_map(|name| directories.get(name))
                .or_else(|| directories.values().next())
                .ok_or_else(|| not_found("no cgroup controller is mounted"))?,
            Self::V2(directory) => directory,
        };
        let mut pids = Vec::new();
        collect_processes(directory, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}

/// Whether the host has cgroup v2 only.
pub fn is_unified() -> bool {
    rustix::fs::statfs(ROOT).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind == CGROUP2_MAGIC))
}

fn collect_processes(directory: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    // A threaded v2 group cannot be read this way; its processes show in its parent.
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match collect_processes(&entry.path(), pids) {
                Err(error) if is_gone(&error) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Whether a group was removed before it was opened, or while it is open.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// `path` below `root`, which it must not leave.
fn below(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut joined = root.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => joined.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "cgroup path leaves its root"));
            }
        }
    }
    Ok(joined)
}

/// Lines of `/proc/<pid>/cgroup` as (controllers, path).
fn memberships(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        fields.next()?;
        Some((fields.next()?, fields.next()?))
    })
}

fn unified_path(text: &str) -> Option<&str> {
    memberships(text).find(|(controllers, _)| controllers.is_empty()).map(|(_, path)| path)
}

/// The (root, mount point) of the v1 hierarchy with `controller`, from `mountinfo`.
fn v1_mount<'a>(mounts: &'a str, controller: &str) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        if after.next()? != "cgroup" || !after.nth(1)?.split(',').any(|option| option == controller) {
            return None;
        }
        let mut before = before.split(' ');
        Some((before.nth(3)?, before.next()?))
    })
}

fn not_found(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_group_is_found_and_holds_us() {
        let group = Cgroup::of_process(std::process::id()).unwrap();
        assert!(group.processes().unwrap().contains(&std::process::id()));
    }

    #[test]
    fn v1_and_v2_memberships_are_told_apart() {
        let text = "5:cpu,cpuacct:/a/b\n1:name=systemd:/s\n0::/u:v\n";
        assert_eq!(unified_path(text), Some("/u:v"));
        assert!(memberships(text).any(|entry| entry == ("name=systemd", "/s")));
        let mounts = "30 25 0:26 /outer /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(v1_mount(mounts, "cpuacct"), Some(("/outer", "/sys/fs/cgroup/cpu")));
        assert_eq!(v1_mount(mounts, "memory"), None);
    }

    #[test]
    fn a_path_cannot_leave_its_root() {
        assert!(below(Path::new("/r"), Path::new("/a/../../b")).is_err());
        assert_eq!(below(Path::new("/r"), Path::new("/a/b")).unwrap(), Path::new("/r/a/b"));
    }
}
