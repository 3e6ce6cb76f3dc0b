//! Debian's docker-registry on a port of loopback, and skopeo as a second client of it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;

/// The one user of a registry that wants a password, and that.
pub const USER: (&str, &str) = ("carol", "sesame");

/// bcrypt of the password, as `htpasswd -B` would write it.
const HTPASSWD: &str = "carol:$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

/// A registry, ended and removed when dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    child: Child,
    dir: TempDir,
}

impl Registry {
    /// A registry that lets everybody do everything.
    #[must_use]
    pub fn open() -> Self {
        Self::start("")
    }

    /// A registry that lets [`USER`] do everything, and others nothing.
    #[must_use]
    pub fn guarded() -> Self {
        Self::start("auth:\n  htpasswd: {realm: tests, path: DIR/htpasswd}\n")
    }

    /// A registry that lets everybody do everything with what is in `<folder>/registry`, which stays.
    #[must_use]
    pub fn over(folder: &Path) -> Self {
        Self::start_over(Some(folder), "")
    }

    fn start(more: &str) -> Self {
        Self::start_over(None, more)
    }

    fn start_over(folder: Option<&Path>, more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("registry-").tempdir().expect("make a temporary directory");
        fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("write htpasswd");
        let data = folder.map_or_else(|| dir.path().join("data"), |folder| folder.join("registry"));
        // Another process may take the port between our looking and its: then the next one is tried.
        for _ in 0..10 {
            if let Some((address, child)) = serve(dir.path(), &data, more) {
                return Self { address, child, dir };
            }
        }
        panic!("docker-registry does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image here.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Whether blob `digest` is in the registry's storage.
    #[must_use]
    pub fn has_blob(&self, digest: &str) -> bool {
        let hex = digest.trim_start_matches("sha256:");
        let path = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        self.dir.path().join(path).exists()
    }

    /// What skopeo says of image `rest`: its `Digest`, `Layers`, `Os` and more.
    #[must_use]
    pub fn inspect(&self, rest: &str) -> Value {
        let output = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--creds", &format!("{}:{}", USER.0, USER.1)])
            .arg(format!("docker://{}", self.name(rest)))
            .output()
            .expect("Debian's package skopeo");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("skopeo prints JSON")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts it on a free port; `None` if it ended at once.
fn serve(dir: &Path, data: &Path, more: &str) -> Option<(String, Child)> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let at = dir.display().to_string();
    // By this header we know our own: two registries may have been given the same port, of which one gets it.
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         http: {{addr: \"{free}\", secret: tests, headers: {{X-Registry: [\"{at}\"]}}}}\n\
         storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n{}",
        data.display(),
        more.replace("DIR", &at)
    );
    fs::write(dir.join("config.yml"), config).expect("write the registry's configuration");
    let log = File::create(dir.join("log")).expect("create the registry's log");
    let mut child = Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share the log"))
        .stderr(log)
        .spawn()
        .expect("Debian's package docker-registry");
    let (mut ended, address) = (false, free.to_string());
    eventually("the registry to serve", || {
        ended = child.try_wait().is_ok_and(|status| status.is_some());
        ended || answer(free).is_ok_and(|answer| answer.contains(&at))
    });
    (!ended).then_some((address, child))
}

/// What whoever listens at `address` answers to a ping.
fn answer(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}
