//! The initramfs: busybox, the kernel modules needed, programs with their libraries, and an init script.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::kernel_package;

/// An initramfs under construction.
#[derive(Debug)]
pub struct Initramfs {
    dir: TempDir,
    modules: Vec<PathBuf>,
}

impl Default for Initramfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Initramfs {
    /// busybox, and the modules of a virtio disk and of overlayfs.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("initramfs-").tempdir().expect("make a temporary directory");
        for sub in ["bin", "dev", "proc", "sys", "run", "tmp", "data", "etc"] {
            fs::create_dir(dir.path().join(sub)).expect("make a directory");
        }
        let mut initramfs = Self { dir, modules: Vec::new() };
        initramfs.program(Path::new("/bin/busybox"), "busybox");
        for module in ["virtio_pci", "virtio_blk", "overlay"] {
            initramfs.module(module);
        }
        initramfs
    }

    /// Adds a program as /bin/`name`, and the libraries it is linked with.
    pub fn program(&mut self, path: &Path, name: &str) {
        self.program_at(path, &Path::new("bin").join(name));
    }

    /// Adds a program under another path, without its symbols, and the libraries it is linked with.
    pub fn program_at(&mut self, path: &Path, to: &Path) {
        let to = self.dir.path().join(to);
        fs::create_dir_all(to.parent().expect("a parent")).expect("make a directory");
        let status = Command::new("strip").arg("-o").arg(&to).arg(path).status().expect("run strip");
        assert!(status.success(), "strip {} ended with {status}", path.display());
        let listing = Command::new("ldd").arg(path).output().expect("run ldd");
        // One library a line: `name => /path (address)`, or the loader's path alone.
        for line in String::from_utf8_lossy(&listing.stdout).lines() {
            if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
                copy(Path::new(library), &self.dir.path().join(library.trim_start_matches('/')));
            }
        }
    }

    /// Adds a file under another path.
    pub fn file(&mut self, from: &Path, to: &Path) {
        copy(from, &self.dir.path().join(to));
    }

    /// Adds a file of this text in the root directory.
    pub fn text(&mut self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("write a file");
    }

    /// Adds an executable script as /bin/`name`.
    pub fn script(&mut self, name: &str, text: &str) {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, text).expect("write a script");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    }

    /// Adds a kernel module after the modules it depends on.
    pub fn module(&mut self, name: &str) {
        let modules = kernel_package().join("lib/modules");
        let version = fs::read_dir(&modules).expect("read lib/modules").next().expect("a version").expect("a version");
        let by_name = files_named(&version.path(), ".ko");
        let mut added: BTreeSet<PathBuf> = self.modules.iter().cloned().collect();
        add_module(name, &by_name, &mut added, &mut self.modules);
    }

    /// Packs it: `script` runs as the machine's first process, after the file systems are mounted.
    #[must_use]
    pub fn pack(&self, script: &str) -> PathBuf {
        let root = self.dir.path();
        let mut insmods = String::new();
        for module in &self.modules {
            let name = module.file_name().expect("a file name").to_string_lossy().into_owned();
            copy(module, &root.join("modules").join(&name));
            insmods.push_str(&format!("insmod /modules/{name}\n"));
        }
        // The first file system cannot be pivoted away from, which runc does for each container: move to another.
        let first = "#!/bin/busybox sh\nexport PATH=/bin\n/bin/busybox --install -s /bin\nmkdir /new\n\
                     mount -t tmpfs new /new\ncp -a /[^n]* /new/\nexec switch_root /new /start\n";
        let start = format!(
            // The firmware leaves its last line open.
            "#!/bin/sh\necho\nexport PATH=/bin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\n\
             mount -t devtmpfs dev /dev\nmount -t tmpfs run /run\nmount -t tmpfs tmp /tmp\n\
             mount -t cgroup2 cgroup2 /sys/fs/cgroup\n{insmods}{script}\n"
        );
        for (name, text) in [("init", first), ("start", &start)] {
            fs::write(root.join(name), text).expect("write a script");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("make it executable");
        }
        let packed = root.with_extension("cpio");
        let pack = format!("find . -mindepth 1 | cpio -o -H newc --quiet > '{}'", packed.display());
        let status = Command::new("sh").args(["-c", &pack]).current_dir(root).status().expect("run cpio");
        assert!(status.success(), "cpio ended with {status}");
        packed
    }
}

impl Drop for Initramfs {
    fn drop(&mut self) {
        drop(fs::remove_file(self.dir.path().with_extension("cpio")));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a parent")).expect("make a directory");
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
}

/// Depth first. The kernel treats `-` and `_` alike.
fn add_module(
    name: &str,
    by_name: &BTreeMap<String, PathBuf>,
    added: &mut BTreeSet<PathBuf>,
    order: &mut Vec<PathBuf>,
) {
    let Some(path) = by_name.get(&name.replace('-', "_")) else {
        return; // built into the kernel
    };
    if !added.insert(path.clone()) {
        return;
    }
    for dependency in depends(path) {
        add_module(&dependency, by_name, added, order);
    }
    order.push(path.clone());
}

/// The `depends=a,b` string of a module's .modinfo section.
fn depends(module: &Path) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let bytes = fs::read(module).expect("read a module");
    let start = bytes.windows(KEY.len()).position(|window| window == KEY).expect("depends= in .modinfo") + KEY.len();
    let value = bytes[start..].split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Every file below `dir` with this ending, by its name without the ending.
fn files_named(dir: &Path, ending: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("read modules").map(|entry| entry.expect("read modules")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("a file type").is_dir() {
                dirs.push(entry.path());
            } else if let Some(stem) = name.strip_suffix(ending) {
                found.insert(stem.replace('-', "_"), entry.path());
            }
        }
    }
    found
}
