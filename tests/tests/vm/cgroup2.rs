//! Execution on unified cgroups, where most hosts are, with runc, crun and youki: limits, statistics, pause, update, OOM,
//! a whole container killed, and nothing left. With runc also a checkpoint, and the container back from it.

use std::path::Path;

use tests::image::busybox_archive;
use tests::vm::{Disk, Initramfs, Vm};
use tests::{Impl, bed::BUSYBOX, programs};

/// Prints `NAME=what a command printed, on one line`.
const SAY: &str = r#"
say() { name=$1; shift; echo "$name=$("$@" 2>&1 | tr -s '\n\t ' ' ')"; }
export CONTAINERD_ADDRESS=/run/c.sock
mount -t ext4 /dev/vda /data
PATH=/bin containerd --root /data/root --state /run/state --address /run/c.sock --log-level warn >/run/log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
echo "import=$(ctr images import --local /busybox.tar >/dev/null 2>&1; echo $?)"
"#;

/// Debian's crun is older than the version of the OCI spec that `ctr` writes, and refuses it unseen.
const CRUN: &str = r#"
cat > /bin/old-crun <<'END'
#!/bin/sh
[ -e config.json ] && sed -i 's/"ociVersion":"[^"]*"/"ociVersion":"1.0.2"/' config.json
exec crun "$@"
END
chmod +x /bin/old-crun
"#;

/// The steps with one runtime; what they say starts with its name.
fn steps(runtime: &str) -> String {
    format!(
        r#"
run="ctr run --runc-binary /bin/{runtime}"
group=/sys/fs/cgroup/default/limited
say {runtime}.hello $run --rm {BUSYBOX} hello echo hello
$run -d --memory-limit 33554432 {BUSYBOX} limited sleep 1000
say {runtime}.memory.max cat $group/memory.max
say {runtime}.exec ctr tasks exec --exec-id e limited echo inside
say {runtime}.metrics ctr tasks metrics limited
ctr tasks pause limited
say {runtime}.frozen cat $group/cgroup.freeze
say {runtime}.paused ctr tasks ls
ctr tasks resume limited
say {runtime}.resumed ctr tasks ls
ctr events > /run/events 2>&1 & events=$!
sleep 2
$run --memory-limit 16777216 {BUSYBOX} hungry sh -c 'x=$(head -c 64000000 /dev/zero | tr "\0" a); echo survived'
echo "{runtime}.hungry=$?"
sleep 1
kill $events
say {runtime}.oom sh -c 'grep -o "/tasks/[a-z]* .*hungry" /run/events | cut -d" " -f1'
ctr tasks exec -d --exec-id worker limited sleep 2000
ctr tasks kill --all -s KILL limited
for _ in $(seq 50); do ctr tasks ls | grep -q RUNNING || break; sleep 0.2; done
ctr tasks rm limited; ctr containers rm limited hungry
say {runtime}.containers ctr containers ls -q
say {runtime}.cgroups sh -c 'ls -d /sys/fs/cgroup/default/*/ 2>/dev/null'
"#
    )
}

/// A process that counts, checkpointed while it goes on, ended by a second checkpoint, and back in another container
/// from the first. Go's `ctr`, which has all these commands; CRIU wants some of what an init system sets up.
const CHECKPOINT: &str = r#"
touch /etc/hosts /etc/resolv.conf
ip link set lo up
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
program='i=0; while true; do i=$((i+1)); echo $i > /count; sleep 0.1; done'
go-ctr run -d --null-io --net-host example.com/test/busybox:1 counter sh -c "$program"
sleep 4
say counted ctr tasks exec --exec-id look counter cat /count
say image go-ctr containers checkpoint --task --rw --image counter example.com/checkpoint:1
say goes-on go-ctr tasks ls
say folder go-ctr tasks checkpoint --exit --image-path /data/images --work-path /data/work counter
say ended go-ctr tasks ls
say images ls /data/images
go-ctr tasks rm counter
say restored go-ctr containers restore --live again example.com/checkpoint:1
say counts ctr tasks exec --exec-id look again cat /count
sleep 2
say counts-on ctr tasks exec --exec-id look again cat /count
go-ctr tasks rm -f again; go-ctr containers rm counter again
say left go-ctr containers ls -q
"#;

/// One machine for all of it: it is the boot that takes the time.
#[test]
fn containers_run_on_unified_cgroups() {
    let runtimes = ["runc", "old-crun", "youki"];
    let steps = runtimes.map(steps).concat();
    let script = format!("{SAY}{CRUN}{steps}{CHECKPOINT}cat /run/log\necho\necho END=\nsleep 1000");
    let mut initramfs = Initramfs::new();
    for (program, name) in [
        (Impl::Ours.containerd(), "containerd"),
        (Impl::Ours.ctr(), "ctr"),
        (Impl::Go.ctr(), "go-ctr"),
        (Impl::Ours.shim(), "containerd-shim-runc-v2"),
        ("/usr/sbin/runc".into(), "runc"),
        ("/usr/bin/crun".into(), "crun"),
        (programs::youki(), "youki"),
        ("/usr/sbin/criu".into(), "criu"),
        // CRIU packs what a tmpfs holds with options of GNU tar.
        ("/bin/tar".into(), "tar"),
    ] {
        initramfs.program(&program, name);
    }
    // CRIU asks the kernel for these, whatever a container uses.
    for module in ["unix_diag", "tcp_diag", "udp_diag", "netlink_diag", "af_packet_diag", "nf_tables", "veth", "tun"] {
        initramfs.module(module);
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
    for runtime in runtimes {
        let expect = |name: &str, test: &dyn Fn(&str) -> bool| expect(&format!("{runtime}.{name}"), test);
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
    let count = |name: &str| said(name).parse::<u64>().unwrap_or(0);
    for quiet in ["image", "folder", "restored", "left"] {
        expect(quiet, &str::is_empty);
    }
    expect("goes-on", &|text| text.contains("RUNNING"));
    expect("ended", &|text| text.contains("STOPPED"));
    expect("images", &|text| text.contains("inventory.img"));
    expect("counted", &|text| text.parse::<u64>().is_ok_and(|count| count > 0));
    // A program started anew would begin with 1, and is not given the time to come as far.
    expect("counts", &|_| count("counts") >= count("counted"));
    expect("counts-on", &|_| count("counts-on") > count("counts"));
}
