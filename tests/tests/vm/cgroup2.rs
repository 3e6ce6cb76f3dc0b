//! Execution on unified cgroups, where most hosts are: limits, statistics, pause, OOM, and nothing left.

use std::path::Path;

use tests::image::busybox_archive;
use tests::vm::{Disk, Initramfs, Vm};
use tests::{Impl, bed::BUSYBOX};

/// Prints `NAME=what a command printed, on one line`.
const SAY: &str = r#"
say() { name=$1; shift; echo "$name=$("$@" 2>&1 | tr -s '\n\t ' ' ')"; }
export CONTAINERD_ADDRESS=/run/c.sock
mount -t ext4 /dev/vda /data
PATH=/bin containerd --root /data/root --state /run/state --address /run/c.sock --log-level warn >/run/log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
echo "import=$(ctr images import --local /busybox.tar >/dev/null 2>&1; echo $?)"
"#;

/// One machine for all of it: it is the boot that takes the time.
#[test]
fn containers_run_on_unified_cgroups() {
    let script = format!(
        r#"{SAY}
say hello ctr run --rm {BUSYBOX} hello echo hello
ctr run -d --memory-limit 33554432 {BUSYBOX} limited sleep 1000
say memory.max cat /sys/fs/cgroup/default/limited/memory.max
say exec ctr tasks exec --exec-id e limited echo inside
say metrics ctr tasks metrics limited
ctr tasks pause limited
say frozen cat /sys/fs/cgroup/default/limited/cgroup.freeze
say paused ctr tasks ls
ctr tasks resume limited
say resumed ctr tasks ls
ctr events > /run/events 2>&1 & events=$!
sleep 2
ctr run --memory-limit 16777216 {BUSYBOX} hungry sh -c 'x=$(head -c 64000000 /dev/zero | tr "\0" a); echo survived'
echo "hungry=$?"
sleep 1
kill $events
say oom sh -c 'grep -o "/tasks/[a-z]* .*hungry" /run/events | cut -d" " -f1'
ctr tasks kill -s KILL limited
sleep 2
ctr tasks rm limited; ctr containers rm limited hungry
say containers ctr containers ls -q
say cgroups sh -c 'ls -d /sys/fs/cgroup/default/*/ 2>/dev/null'
cat /run/log
echo
echo END=
sleep 1000"#
    );
    let mut initramfs = Initramfs::new();
    for (program, name) in [
        (Impl::Ours.containerd(), "containerd"),
        (Impl::Ours.ctr(), "ctr"),
        (Impl::Ours.shim(), "containerd-shim-runc-v2"),
        ("/usr/sbin/runc".into(), "runc"),
    ] {
        initramfs.program(&program, name);
    }
    initramfs.file(busybox_archive(), Path::new("busybox.tar"));
    let packed = initramfs.pack(&script);
    let disk = Disk::ext4(512 << 20);
    let mut vm = Vm::boot(&packed, &disk.path(), None);
    vm.wait_for("END=");
    let console = vm.cut_power();
    let said = |name: &str| {
        let line = console.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}= on the console:\n{}", console.join("\n"))).trim().to_owned()
    };
    let expect = |name: &str, test: &dyn Fn(&str) -> bool| {
        assert!(test(&said(name)), "{name}={:?}; the console:\n{}", said(name), console.join("\n"));
    };
    expect("import", &|text| text == "0");
    expect("hello", &|text| text == "hello");
    expect("memory.max", &|text| text == "33554432");
    expect("exec", &|text| text == "inside");
    expect("metrics", &|text| text.contains("memory.usage") && text.contains("pids.current"));
    expect("frozen", &|text| text == "1");
    expect("paused", &|text| text.contains("limited") && text.contains("PAUSED"));
    expect("resumed", &|text| text.contains("limited") && text.contains("RUNNING"));
    expect("hungry", &|text| text == "137");
    expect("oom", &|text| text.starts_with("/tasks/create /tasks/start /tasks/oom /tasks/exit"));
    expect("containers", &str::is_empty);
    expect("cgroups", &str::is_empty);
}
