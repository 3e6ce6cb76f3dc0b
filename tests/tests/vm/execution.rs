//! The execution tests of the black-box binary on unified cgroups, where most hosts are, with runc and with crun.

use std::path::Path;

use tests::Impl;
use tests::execution::{self, Extent};
use tests::vm::{Disk, Initramfs, Vm};

/// Programs that tests and CRIU call: those of busybox do not have every flag.
const TOOLS: &[&str] = &["/usr/bin/install", "/usr/bin/timeout", "/usr/bin/script", "/bin/tar"];

/// One machine for all of it: it is the boot that takes the time.
#[test]
fn on_unified_cgroups() {
    let binary = execution::binary();
    let names = execution::names(&binary, Extent::wanted(Extent::Few));
    let mut initramfs = machine(&binary);
    let runtimes = ["runc", "old-crun"];
    initramfs
        .script("run-tests", &format!("exec /target/debug/deps/blackbox --test-threads=3 --exact {}", names.join(" ")));
    let run =
        |runtime| format!("echo BEGIN {runtime}\nCONTAINERD_TEST_RUNTIME=/bin/{runtime} sh /bin/run-tests 2>&1\n");
    // Tests on a terminal open one of the machine's.
    let terminals = "mkdir -p /dev/pts; mount -t devpts devpts /dev/pts";
    let packed = initramfs.pack(&format!("{terminals}\n{}\necho END\nsleep 1000", runtimes.map(run).concat()));
    let disk = Disk::ext4(64 << 20);
    let mut vm = Vm::boot(&packed, &disk.path(), None);
    for runtime in runtimes {
        vm.wait_for(&format!("BEGIN {runtime}"));
        let result = vm.wait_for("test result: ");
        let passed = format!("ok. {} passed; 0 failed;", names.len());
        assert!(result.starts_with(&passed), "{runtime}: {result}; the console:\n{}", vm.cut_power().join("\n"));
    }
    vm.wait_for("END");
}

/// What the tests need, in the places where they look for it.
fn machine(tests: &Path) -> Initramfs {
    let mut initramfs = Initramfs::new();
    for (program, place) in [
        (tests.to_path_buf(), "target/debug/deps/blackbox"),
        (Impl::Ours.containerd(), "target/debug/containerd"),
        (Impl::Ours.ctr(), "target/debug/ctr"),
        (Impl::Ours.shim(), "target/x86_64-unknown-linux-gnu/shim/containerd-shim-runc-v2"),
        (Impl::Go.containerd(), "target/peers/usr/bin/containerd"),
        (Impl::Go.ctr(), "target/peers/usr/bin/ctr"),
        (Impl::Go.shim(), "target/peers/usr/bin/containerd-shim-runc-v2"),
        ("/usr/sbin/runc".into(), "bin/runc"),
        ("/usr/bin/crun".into(), "bin/crun"),
        ("/usr/sbin/criu".into(), "bin/criu"),
    ] {
        initramfs.program_at(&program, Path::new(place));
    }
    for tool in TOOLS {
        let tool = Path::new(tool);
        initramfs.program(tool, &tool.file_name().expect("a name").to_string_lossy());
    }
    initramfs.script("old-crun", crate::OLD_CRUN);
    initramfs
}
