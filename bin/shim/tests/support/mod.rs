//! A daemon in miniature: starts shims, calls them over ttrpc and takes their events.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "tests only")]

pub mod client;
pub mod events;

use client::Client;
use events::EventServer;
use prost::Message as _;
use proto::Any;
use proto::api::containerd::runc::v1::Options;
use proto::shim::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult, Extension};
use proto::shim::containerd::task::v3::*;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const NAMESPACE: &str = "shimtest";

/// Patience for things that happen in milliseconds unless they are broken.
pub const SOON: Duration = Duration::from_secs(120);

/// A private world for one test; everything in it is gone when it is dropped.
pub struct World {
    pub dir: TempDir,
    pub events: EventServer,
    /// In the options of `start`, beside those of [`Self::options`].
    pub shim_cgroup: String,
    shims: Vec<u32>,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("shim").tempdir().unwrap();
        let events = EventServer::start(&dir.path().join("e.sock"));
        fs::create_dir_all(dir.path().join("bundles")).unwrap();
        make_rootfs(&dir.path().join("rootfs"));
        Self { dir, events, shim_cgroup: String::new(), shims: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn options(&self) -> Options {
        Options { root: self.path("runc").to_string_lossy().into_owned(), ..Options::default() }
    }

    /// A bundle whose process is `args`; `edit` may change its spec.
    pub fn bundle(&self, id: &str, args: &[&str], edit: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.path("bundles").join(id);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        fs::create_dir_all(bundle.join("work")).unwrap();
        let mut spec = spec(id, args);
        edit(&mut spec);
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        bundle
    }

    fn command(&self, id: &str, action: &str) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["-namespace", NAMESPACE, "-address", "/nowhere.sock", "-id", id, action])
            .current_dir(self.path("bundles").join(id))
            .env("TTRPC_ADDRESS", self.path("e.sock"))
            .env("MAX_SHIM_VERSION", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Calls `start` and returns the path of the socket.
    pub fn start(&mut self, id: &str) -> PathBuf {
        let output = self.try_start(id);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let result = BootstrapResult::decode(output.stdout.as_slice()).unwrap();
        assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
        PathBuf::from(result.address.strip_prefix("unix://").unwrap())
    }

    /// Calls `start`.
    pub fn try_start(&self, id: &str) -> Output {
        let value = Options { shim_cgroup: self.shim_cgroup.clone(), ..self.options() }.encode_to_vec();
        let params = BootstrapParams {
            instance_id: id.into(),
            namespace: NAMESPACE.into(),
            socket_dir: Some(self.path("s").to_string_lossy().into_owned()),
            extensions: vec![Extension { value: Some(Any { type_url: "containerd.runc.v1.Options".into(), value }) }],
            ..BootstrapParams::default()
        };
        run(self.command(id, "start"), &params.encode_to_vec())
    }

    /// A shim for a new bundle, connected.
    pub fn shim(&mut self, id: &str, args: &[&str], edit: impl FnOnce(&mut Value)) -> Shim {
        let bundle = self.bundle(id, args, edit);
        let socket = self.start(id);
        let mut client = Client::connect(&socket);
        let connect = ConnectRequest { id: id.into() };
        let pid = client.call::<ConnectResponse>("Connect", &connect).unwrap().shim_pid;
        self.shims.push(pid);
        Shim { id: id.into(), bundle, socket, client, pid, rootfs: self.path("rootfs"), options: self.options() }
    }

    /// Calls `delete` and returns its answer.
    pub fn delete(&self, id: &str) -> DeleteResponse {
        let output = run(self.command(id, "delete"), &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        DeleteResponse::decode(output.stdout.as_slice()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever a failed test left: first the shims, then their containers.
        for &pid in &self.shims {
            let is_ours = fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("shim"));
            if is_ours {
                let _gone = sys::process::kill(pid, 9);
            }
        }
        let root = self.path("runc").join(NAMESPACE);
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            let _gone = Command::new("runc")
                .arg("--root")
                .arg(&root)
                .args(["delete", "--force"])
                .arg(entry.file_name())
                .status();
        }
        let _gone = sys::mount::unmount_below(self.dir.path(), sys::mount::Unmount::Detach);
    }
}

/// A running shim with one container.
pub struct Shim {
    pub id: String,
    pub bundle: PathBuf,
    pub socket: PathBuf,
    pub client: Client,
    pub pid: u32,
    rootfs: PathBuf,
    /// What `Create` is asked with.
    pub options: Options,
}

impl Shim {
    pub fn create_request(&self) -> CreateTaskRequest {
        CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.bundle.to_string_lossy().into_owned(),
            rootfs: vec![proto::api::containerd::types::Mount {
                r#type: "bind".into(),
                source: self.rootfs.to_string_lossy().into_owned(),
                options: vec!["rbind".into(), "ro".into()],
                ..Default::default()
            }],
            options: Some(Any { type_url: "containerd.runc.v1.Options".into(), value: self.options.encode_to_vec() }),
            ..CreateTaskRequest::default()
        }
    }

    /// Creates with null stdio.
    pub fn create(&mut self) -> u32 {
        let request = self.create_request();
        self.client.call::<CreateTaskResponse>("Create", &request).unwrap().pid
    }

    pub fn start_process(&mut self, exec: &str) -> u32 {
        let request = StartRequest { id: self.id.clone(), exec_id: exec.into() };
        self.client.call::<StartResponse>("Start", &request).unwrap().pid
    }

    pub fn exec_request(&self, exec: &str, args: &[&str]) -> ExecProcessRequest {
        let process = json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
        ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec.into(),
            spec: Some(Any { type_url: "types.containerd.io/process".into(), value: process.to_string().into_bytes() }),
            ..ExecProcessRequest::default()
        }
    }

    pub fn exec(&mut self, exec: &str, args: &[&str]) {
        let request = self.exec_request(exec, args);
        self.client.call::<()>("Exec", &request).unwrap();
        self.start_process(exec);
    }

    pub fn wait(&mut self, exec: &str) -> u32 {
        let request = WaitRequest { id: self.id.clone(), exec_id: exec.into() };
        self.client.call::<WaitResponse>("Wait", &request).unwrap().exit_status
    }

    pub fn kill(&mut self, exec: &str, signal: u32) -> model::Result<()> {
        let request = KillRequest { id: self.id.clone(), exec_id: exec.into(), signal, all: false };
        self.client.call("Kill", &request)
    }

    pub fn state(&mut self, exec: &str) -> StateResponse {
        let request = StateRequest { id: self.id.clone(), exec_id: exec.into() };
        self.client.call("State", &request).unwrap()
    }

    pub fn delete(&mut self, exec: &str) -> DeleteResponse {
        let request = DeleteRequest { id: self.id.clone(), exec_id: exec.into() };
        self.client.call("Delete", &request).unwrap()
    }

    /// Ends the shim and waits until it has gone.
    pub fn shutdown(mut self) {
        let request = ShutdownRequest { id: self.id.clone(), now: false };
        self.client.call::<()>("Shutdown", &request).unwrap();
        eventually("the shim has ended", || !is_running(self.pid));
        assert!(!self.socket.exists(), "the socket is removed");
    }
}

/// A runtime that runs `before` in a shell and is then runc; its arguments are `"$@"`.
pub fn runtime(path: &Path, before: &str) -> String {
    program(path, &format!("{before}\nexec runc \"$@\""));
    path.to_string_lossy().into_owned()
}

/// Writes a shell script. A shell does it: were it open for writing here while another test forks, that child's copy of
/// the descriptor would keep the program from being started (ETXTBSY).
pub fn program(path: &Path, script: &str) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    assert!(run(command, format!("#!/bin/sh\n{script}\n").as_bytes()).status.success());
}

/// Opens for reading as containerd's clients do, without waiting for a writer.
pub fn reader(path: &str) -> File {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    rustix::io::ioctl_fionbio(&file, false).unwrap();
    file
}

/// All there is until the other side closes; only after a writer has come.
pub fn read_all(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Waits until `pid` runs `program`. Until then it is the runtime, which other signals end, and end in other ways.
pub fn await_program(pid: u32, program: &str) {
    eventually(program, || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim() == program);
}

/// The shim under test: the one just built, or `SHIM` from the environment.
pub fn binary() -> std::ffi::OsString {
    std::env::var_os("SHIM").unwrap_or_else(|| env!("CARGO_BIN_EXE_containerd-shim-runc-v2").into())
}

/// Whether `pid` runs, rather than being gone or a zombie nobody has reaped.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "not in {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn fifo(path: &Path) -> String {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    path.to_string_lossy().into_owned()
}

fn run(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// A root file system out of the host's own `/usr`, which the spec binds into it.
fn make_rootfs(root: &Path) {
    for dir in ["usr", "proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for dir in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{dir}"), root.join(dir)).unwrap();
    }
}

fn spec(id: &str, args: &[&str]) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cgroup = format!("/shimtest-{}-{}-{id}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let namespaces: Vec<Value> = ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": { "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] }
        ],
        "linux": { "namespaces": namespaces, "cgroupsPath": cgroup }
    })
}
