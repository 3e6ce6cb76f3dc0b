//! Docker's engine, unmodified, on the daemon: with its own image store and with containerd's.
//!
//! Without networks: the test must not touch the machine's.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tests::ctr::{Output, output};
use tests::image::busybox;
use tests::{Bed, eventually, matrix};

matrix! { shims: own_images, containerd_images }

const IMAGE: &str = "example.com/test/busybox:1";

/// dockerd on a bed's daemon, in its directory and namespace.
struct Docker {
    dir: PathBuf,
    child: Child,
}

impl Docker {
    fn start(bed: &Bed, flags: &[&str]) -> Self {
        let (dir, namespace) = (bed.daemon.dir().join("docker"), bed.daemon.namespace());
        let path = |name: &str| dir.join(name).display().to_string();
        fs::create_dir_all(&dir).unwrap();
        fs::write(path("none.json"), "{}").unwrap();
        let log = File::create(path("log")).unwrap();
        let child = Command::new("unshare")
            .arg("--net")
            .arg(tests::programs::peer("sbin/dockerd"))
            .arg(format!("--containerd={}", bed.daemon.socket().display()))
            .args([
                format!("--containerd-namespace={namespace}"),
                format!("--containerd-plugins-namespace={namespace}-plugins"),
            ])
            .args([format!("--data-root={}", path("root")), format!("--exec-root={}", path("state"))])
            .args([format!("--host=unix://{}", path("sock")), format!("--pidfile={}", path("pid"))])
            .args([format!("--config-file={}", path("none.json")), format!("--cgroup-parent=/{namespace}")])
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--userland-proxy=false",
                "--live-restore",
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let mut docker = Self { dir, child: child.unwrap() };
        eventually("dockerd to serve", || {
            let ended = docker.child.try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {}", docker.log());
            docker.run(&["version"]).code == 0
        });
        docker
    }

    fn run(&self, words: &[&str]) -> Output {
        self.feed(words, b"")
    }

    fn feed(&self, words: &[&str], stdin: &[u8]) -> Output {
        let child = Command::new(tests::programs::peer("bin/docker"))
            .arg(format!("--host=unix://{}", self.dir.join("sock").display()))
            .args(words)
            .env("DOCKER_CONFIG", &self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        output(child.unwrap(), stdin)
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert_eq!(out.code, 0, "docker {words:?}: {out:?}\n{}", self.log());
        out.stdout
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "dockerd ended with {status}\n{}", self.log());
    }
}

/// What a user of docker does in a day, a crash of the daemon included.
fn a_day(bed: &mut Bed, flags: &[&str]) {
    let docker = Docker::start(bed, flags);
    let loaded = docker.feed(&["load"], &busybox(IMAGE).docker_archive());
    assert!(loaded.stdout.contains(IMAGE), "{loaded:?}\n{}", docker.log());
    let out = docker.run(&["run", "--rm", "--network=none", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (3, "out\n", "err\n"), "{}", docker.log());
    let script = "echo started; trap 'exit 5' TERM; while :; do sleep 0.1; done";
    docker.ok(&["run", "-d", "--name=long", "--network=none", "--memory=64m", IMAGE, "sh", "-c", script]);
    assert_eq!(docker.ok(&["exec", "-e", "WHO=me", "long", "sh", "-c", "echo $WHO; cat /etc/motd"]), "me\nlast\n");
    docker.ok(&["pause", "long"]);
    assert!(docker.ok(&["ps"]).contains("(Paused)"));
    docker.ok(&["unpause", "long"]);
    let stats = docker.ok(&["stats", "--no-stream", "--format={{.MemUsage}}", "long"]);
    assert!(stats.contains("64MiB"), "{stats}");
    docker.ok(&["update", "--memory=32m", "--memory-swap=32m", "long"]);
    let pid = docker.ok(&["inspect", "--format={{.State.Pid}}", "long"]);
    bed.daemon.kill();
    bed.daemon.restart();
    eventually("dockerd to be back", || docker.run(&["exec", "long", "true"]).code == 0);
    assert_eq!(docker.ok(&["inspect", "--format={{.State.Pid}}", "long"]), pid, "it ran on");
    docker.ok(&["stop", "--time=20", "long"]);
    assert_eq!(docker.ok(&["inspect", "--format={{.State.ExitCode}}", "long"]), "5\n");
    assert_eq!(docker.ok(&["logs", "long"]), "started\n");
    docker.ok(&["start", "long"]);
    docker.ok(&["kill", "long"]);
    assert_eq!(docker.ok(&["wait", "long"]), "137\n");
    docker.ok(&["rm", "long"]);
    docker.ok(&["run", "--name=changed", "--network=none", IMAGE, "sh", "-c", "echo new > /etc/motd"]);
    docker.ok(&["commit", "changed", "example.com/test/changed:1"]);
    assert_eq!(
        docker.ok(&["run", "--rm", "--network=none", "example.com/test/changed:1", "cat", "/etc/motd"]),
        "new\n"
    );
    docker.ok(&["rm", "changed"]);
    docker.ok(&["rmi", "example.com/test/changed:1", IMAGE]);
    assert!(docker.ok(&["images", "-q"]).is_empty());
    docker.stop();
}

fn own_images(bed: &mut Bed) {
    a_day(bed, &["--storage-driver=overlay2", "--feature=containerd-snapshotter=false"]);
}

fn containerd_images(bed: &mut Bed) {
    a_day(bed, &["--storage-driver=overlayfs", "--feature=containerd-snapshotter=true"]);
}
