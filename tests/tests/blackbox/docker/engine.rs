//! dockerd on a daemon, in a network namespace without a way out, and its client.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::forward::Forward;
use rustix::process::{Pid, Signal, kill_process};
use tests::ctr::{Output, output};
use tests::{Bed, eventually};

/// dockerd on a bed's daemon, in its directory and namespace.
pub(crate) struct Docker {
    dir: PathBuf,
    namespace: String,
    child: Child,
}

impl Docker {
    pub(crate) fn start(bed: &Bed, flags: &[&str]) -> Self {
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
        let mut docker = Self { dir, namespace: namespace.to_owned(), child: child.unwrap() };
        docker.add_plugin("docker-buildx");
        eventually("dockerd to serve", || {
            let ended = docker.child.try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {}", docker.log());
            docker.run(&["version"]).code == 0
        });
        docker
    }

    /// Puts a plugin of the client where the client looks for it.
    fn add_plugin(&self, name: &str) {
        fs::create_dir_all(self.dir.join("cli-plugins")).unwrap();
        let plugin = tests::programs::peer(&format!("libexec/docker/cli-plugins/{name}"));
        symlink(fs::canonicalize(plugin).unwrap(), self.dir.join("cli-plugins").join(name)).unwrap();
    }

    /// Makes a port of the machine's loopback one of dockerd's, as long as the result lives.
    pub(crate) fn reaches(&self, address: SocketAddr) -> Forward {
        Forward::into_namespace_of(self.child.id(), address)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.feed(words, b"")
    }

    pub(crate) fn feed(&self, words: &[&str], stdin: &[u8]) -> Output {
        self.within(tests::PATIENCE.as_secs(), words, stdin)
    }

    /// The same for so many seconds at most: what dockerd waits for and does not hear of, it waits for without end.
    pub(crate) fn within(&self, seconds: u64, words: &[&str], stdin: &[u8]) -> Output {
        let child = Command::new("timeout")
            .args(["-k", "5", &seconds.to_string()])
            .arg(tests::programs::peer("bin/docker"))
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
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert_eq!(out.code, 0, "docker {words:?}: {out:?}\n{}", self.log());
        out.stdout
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "dockerd ended with {status}\n{}", self.log());
        // BuildKit leaves the group its steps ran in, under every daemon.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
            drop(fs::remove_dir(hierarchy.unwrap().path().join(&self.namespace).join("buildkit")));
        }
        drop(fs::remove_dir(Path::new("/sys/fs/cgroup").join(&self.namespace).join("buildkit")));
    }
}
