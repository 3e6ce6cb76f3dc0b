//! A disk that fills up: what was asked for is refused and undone, what was acknowledged stays, and once there is
//! space again the daemon goes on without a restart.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tests::leaks::entries;
use tests::{Bed, Daemon, Impl, matrix};

matrix! { shims: bundle }

/// A small filesystem of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        mount("none", at, "tmpfs", MountFlags::empty(), &*std::ffi::CString::new(format!("size={size}")).unwrap())
            .unwrap();
        Self(at.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for step in [1 << 20, 1 << 12] {
            while file.write_all(&vec![1; step]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn bundle(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let bundles = bed.daemon.state().join("io.containerd.runtime.v2.task").join(bed.daemon.namespace());
    let disk = Disk::mount(&bundles, "256k");
    ctr.ok(&format!("containers create {image} full true"));
    disk.fill();
    let refused = ctr.fails("tasks start full");
    assert!(refused.contains("no space left on device"), "{refused}");
    assert!(refused.contains(bed.ours_names("full")), "{refused}");
    assert!(ctr.names("tasks ls").is_empty());
    assert_eq!(entries(&bundles), [disk.filler()], "nothing of the bundle stays");
    disk.free();
    assert_eq!(ctr.run("tasks start full").code, 0);
    ctr.ok("containers rm full");
    assert!(entries(&bundles).is_empty());
}

/// The whole root on a disk that fills while blobs and labels are written.
fn root(which: Impl) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder.path().join("disk"), "48m");
    let daemon = Daemon::on_root(which, &disk.0);
    let mut api = tests::api::Api::connect(&daemon.socket(), daemon.namespace());
    api.hold_lease("disk");
    let (first, big) = (b"acknowledged".repeat(100), vec![7; 2 << 20]);
    let kept = api.ingest("first", &first).unwrap();
    disk.fill();
    let refused = api.ingest("big", &big).unwrap_err();
    assert!(refused.message().contains("no space left on device"), "{refused:?}");
    let ctr = daemon.ctr(Impl::Go);
    // Records that fit no more: some are refused, and none of them takes the daemon down.
    let label = "x".repeat(3000);
    let created: Vec<bool> =
        (0..200).map(|n| ctr.run(&format!("namespaces create full{n} name={label}")).code == 0).collect();
    assert!(ctr.ok("content ls -q").contains(&kept), "what is there can be read");
    disk.free();
    let stored = api.ingest("big", &big).expect("there is space again");
    let listed = ctr.ok("content ls -q");
    assert!(listed.contains(&kept) && listed.contains(&stored), "{listed}");
    let namespaces = ctr.names("namespaces ls");
    for (n, created) in created.iter().enumerate() {
        assert!(!created || namespaces.contains(&format!("full{n}")), "full{n} was acknowledged and is not there");
    }
    daemon.finish();
}

#[test]
fn root_of_go() {
    root(Impl::Go);
}

#[test]
fn root_of_ours() {
    root(Impl::Ours);
}
