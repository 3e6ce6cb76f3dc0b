//! A power cut: what was acknowledged is there and whole, and what was not is absent or resumable.
//!
//! A virtual machine makes steps on a disk whose every write and flush is logged, until its power is
//! cut. Then the disk is brought to what it held at a flush (whatever was written after one, and not
//! flushed again, is lost) for several flushes and the last, and a daemon is started on it.

use std::fs;
use std::path::Path;

use tests::vm::{Disk, Initramfs, Vm, WriteLog};
use tests::{Daemon, Impl, steps};

/// Steps to wait for before the power is cut.
const STEPS: usize = 12;
/// Flushes, beside the last, at which the disk is looked at.
const CUTS: usize = 6;

#[test]
fn an_acknowledged_step_survives_and_an_unfinished_one_harms_nothing() {
    let before = Disk::ext4(512 << 20);
    let disk = Disk::copy_of(&before.path());
    let log = WriteLog::new();
    let acknowledged = run_until_cut(&disk, &log);

    let flushes = log.flushes();
    assert!(flushes > STEPS, "only {flushes} flushes: was nothing synced?");
    let mut present = 0;
    for cut in (1..=CUTS).map(|cut| flushes * cut / (CUTS + 1)).chain([flushes - 1]) {
        let disk = Disk::copy_of(&before.path());
        log.replay(&disk.path(), cut);
        let found = steps_present(&disk, cut);
        assert!(found >= present, "flush {cut}: {found} steps, but {present} at an earlier flush");
        present = found;
    }
    assert!(present >= acknowledged, "{acknowledged} steps were acknowledged, {present} survived");
}

/// Boots, waits for the steps, cuts the power; how many steps were acknowledged by then.
fn run_until_cut(disk: &Disk, log: &WriteLog) -> usize {
    let mut initramfs = Initramfs::new();
    initramfs.program(&Impl::Ours.containerd(), "containerd");
    initramfs.program(Path::new(env!("CARGO_BIN_EXE_make-steps")), "make-steps");
    let packed = initramfs.pack(
        "mount -t ext4 /dev/vda /data || echo MOUNT FAILED\n\
         containerd --root /data/root --state /run/state --address /run/c.sock --log-level warn >/run/log 2>&1 &\n\
         make-steps /run/c.sock || cat /run/log\n\
         poweroff -f",
    );
    let mut vm = Vm::boot(&packed, &disk.path(), Some(&log.path()));
    vm.wait_for("SERVING");
    vm.wait_for(&format!("DONE {}", STEPS - 1));
    let console = vm.cut_power();
    let failed: Vec<_> = console.iter().filter(|line| line.contains("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:?}");
    console.iter().filter(|line| line.starts_with("DONE ")).count()
}

/// Starts a daemon on `disk` and counts the steps there: they must be the first ones, without a gap.
fn steps_present(disk: &Disk, cut: usize) -> usize {
    let mounted = disk.mount();
    if !mounted.path().join("root").exists() {
        return 0; // cut before the daemon began
    }
    let daemon = Daemon::on_root(Impl::Ours, &mounted.path().join("root"));
    let api = tests::api::Api::connect(&daemon.socket(), "steps");
    let view = daemon.dir().join("view");
    fs::create_dir(&view).expect("make a mount point");
    let mut present = 0;
    while steps::check(&api, present, &view) {
        present += 1;
    }
    for later in present + 1..present + 4 {
        assert!(!steps::check(&api, later, &view), "flush {cut}: step {later} is there, step {present} is not");
    }
    steps::check_every_blob(&api);
    drop(api);
    daemon.finish();
    present
}
