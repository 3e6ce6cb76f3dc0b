//! Execution on unified cgroups, where most hosts are, with runc, crun and youki: limits, statistics, pause, update, OOM,
//! a whole container killed, and nothing left. With runc also a checkpoint, and the container back from it.

use std::path::Path;

use serde_json::json;
use tests::image::busybox_archive;
use tests::vm::{Disk, Initramfs, Vm};
use tests::{Impl, bed::BUSYBOX, programs};

/// Prints `NAME=what a command printed, on one line`.
const SAY: &str = r#"
say() { name=$1; shift; echo "$name=$("$@" 2>&1 | tr -s '\n\t ' ' ')"; }
export CONTAINERD_ADDRESS=/run/c.sock
mount -t ext4 /dev/vda /data
PATH=/bin containerd --config /config.toml --root /data/root --state /run/state --address /run/c.sock --log-level warn >/run/log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
echo "import=$(ctr images import --local /busybox.tar >/dev/null 2>&1; echo $?)"
"#;

/// A root directory without an image.
const PLAIN: &str = r"
mkdir -p /plain/bin /plain/proc /plain/dev /plain/sys
cp /bin/busybox /plain/bin/busybox
for applet in sh mkdir cat sleep; do ln -s busybox /plain/bin/$applet; done
";

/// No systemd runs there to make a group.
const SYSTEMD: &str = r"
say systemd ctr run --rm --runc-systemd-cgroup --cgroup machine.slice:test:x example.com/test/busybox:1 sliced true
say unsliced ctr containers ls -q
";

/// The steps with one runtime; what they say starts with its name. The kernel may take more than one process of the hungry
/// container for its want of memory, each of which is told.
fn steps(runtime: &str) -> String {
    // youki does not remove a group that has others below.
    let delegated = if runtime == "youki" {
        String::new()
    } else {
        format!("say {runtime}.delegated $run --rm --config /delegated.json delegated")
    };
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
n=0; until grep -q /namespaces/update /run/events; do n=$((n+1)); ctr namespaces label default poke=$n; sleep 0.3; done
$run --memory-limit 16777216 {BUSYBOX} hungry sh -c 'x=$(head -c 64000000 /dev/zero | tr "\0" a); echo survived'
echo "{runtime}.hungry=$?"
for _ in $(seq 100); do grep -q '/tasks/exit .*hungry' /run/events && break; sleep 0.2; done
kill $events
say {runtime}.oom sh -c 'grep -o "/tasks/[a-z]* .*hungry" /run/events | cut -d" " -f1 | uniq'
ctr tasks exec -d --exec-id worker limited sleep 2000
ctr tasks kill --all -s KILL limited
for _ in $(seq 50); do ctr tasks ls | grep -q RUNNING || break; sleep 0.2; done
ctr tasks rm limited; ctr containers rm limited hungry
$run -d --cgroup /chosen/place {BUSYBOX} placed sleep 1000
say {runtime}.placed sh -c '[ "$(wc -l < /sys/fs/cgroup/chosen/place/cgroup.procs)" = 1 ] && echo there'
ctr tasks rm -f placed; ctr containers rm placed
{delegated}
say {runtime}.containers ctr containers ls -q
say {runtime}.cgroups sh -c 'ls -d /sys/fs/cgroup/default/*/ 2>/dev/null'
"#
    )
}

/// What CRIU wants of an init system.
const CHECKPOINTS: &str = r#"
touch /etc/hosts /etc/resolv.conf
ip link set lo up
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
"#;

/// A process that counts, checkpointed by `maker` while it goes on, ended by a second checkpoint, and brought back in
/// another container from the first by `restorer`. Both are a `ctr`.
fn checkpoint(maker: &str, restorer: &str) -> String {
    format!(
        r#"
program='i=0; while true; do i=$((i+1)); echo $i > /new; busybox mv /new /count; sleep 0.1; done'
{maker} run -d --null-io --net-host {BUSYBOX} counter sh -c "$program"
until [ -n "$(ctr tasks exec --exec-id look counter cat /count)" ]; do sleep 0.5; done
say {maker}.counted ctr tasks exec --exec-id look counter cat /count
say {maker}.image {maker} containers checkpoint --task --rw --image counter example.com/checkpoint:{maker}
say {maker}.goes-on {maker} tasks ls
say {maker}.folder {maker} tasks checkpoint --exit --image-path /data/{maker} --work-path /data/work counter
say {maker}.ended {maker} tasks ls
say {maker}.images ls /data/{maker}
{maker} tasks rm counter; {maker} containers rm counter
say {maker}.restored {restorer} containers restore --live again example.com/checkpoint:{maker}
say {maker}.counts ctr tasks exec --exec-id look again cat /count
sleep 2
say {maker}.counts-on ctr tasks exec --exec-id look again cat /count
{restorer} tasks rm -f again; {restorer} containers rm again
say {maker}.left {restorer} containers ls -q
"#
    )
}

/// A container in a cgroup namespace of its own, whose cgroup is its to divide: it moves itself to a group below, hands
/// the pids controller down, and what it starts in a second group is held to that one's limit.
const DELEGATED: &str = r#"
cd /sys/fs/cgroup && mkdir leader worker && echo 0 > leader/cgroup.procs && echo +pids > cgroup.subtree_control || exit 1
echo 3 > worker/pids.max
sh -c 'echo 0 > worker/cgroup.procs; for i in 1 2 3 4 5 6; do sleep 1 & done; wait' 2>/dev/null
echo $(cat /proc/1/cgroup) $(cat worker/pids.events)
"#;

/// Its `config.json`, on the directory /plain.
fn delegated() -> String {
    let namespaces: Vec<_> = ["pid", "ipc", "mount", "cgroup"].iter().map(|kind| json!({ "type": kind })).collect();
    let mount = |at: &str, kind: &str| json!({ "destination": at, "type": kind, "source": kind, "options": ["rw"] });
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c", DELEGATED],
        },
        "root": { "path": "/plain" },
        "mounts": [
            mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/sys", "sysfs"), mount("/sys/fs/cgroup", "cgroup"),
        ],
        "linux": { "cgroupsPath": "/default/delegated", "namespaces": namespaces },
    })
    .to_string()
}

/// One machine for all of it: it is the boot that takes the time.
#[test]
fn containers_run_on_unified_cgroups() {
    let runtimes = ["runc", "old-crun", "youki"];
    let steps = runtimes.map(steps).concat();
    let checkpoints =
        [("ctr", "go-ctr"), ("go-ctr", "ctr")].map(|(maker, restorer)| checkpoint(maker, restorer)).concat();
    let script =
        format!("{SAY}{PLAIN}{steps}{SYSTEMD}{CHECKPOINTS}{checkpoints}cat /run/log\necho\necho END=\nsleep 1000");
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
    initramfs.text("config.toml", &format!("version = 3\n{}", tests::daemon::TIMEOUTS));
    initramfs.text("delegated.json", &delegated());
    initramfs.script("old-crun", crate::OLD_CRUN);
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
        expect("placed", &|text| text == "there");
        if runtime != "youki" {
            expect("delegated", &|text| text.starts_with("0::/leader max ") && !text.ends_with(" 0"));
        }
        expect("containers", &str::is_empty);
        expect("cgroups", &str::is_empty);
    }
    expect("systemd", &|text| text.contains("systemd"));
    expect("unsliced", &str::is_empty);
    for maker in ["ctr", "go-ctr"] {
        let count = |name: &str| said(&format!("{maker}.{name}")).parse::<u64>().unwrap_or(0);
        let expect = |name: &str, test: &dyn Fn(&str) -> bool| expect(&format!("{maker}.{name}"), test);
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
}
