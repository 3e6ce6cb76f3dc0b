//! Debian's docker-registry on a port of loopback, in the clear or with TLS, and skopeo as a second client of it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;

/// The one user of a registry that wants a password, and that.
pub const USER: (&str, &str) = ("carol", "sesame");

/// bcrypt of the password, as `htpasswd -B` would write it.
const HTPASSWD: &str = "carol:$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

/// A certificate authority, what it has signed for a registry on loopback, and for a client of it. The files for
/// clients are in `certs/`, named as docker has them.
const CERTIFICATES: &str = "
    mkdir certs
    key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    openssl req -x509 $key -days 2 -subj /CN=authority -keyout ca.key -out certs/ca.crt
    for name in server client; do
        openssl req $key -subj /CN=$name -keyout $name.key -out $name.csr
        printf 'subjectAltName=IP:127.0.0.1\\n' > extensions
        openssl x509 -req -in $name.csr -CA certs/ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions \\
            -out $name.crt
    done
    mv client.crt certs/client.cert
    mv client.key certs/client.key";

/// A registry, ended and removed when dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    child: Child,
    dir: TempDir,
    tls: Tls,
}

/// How a registry speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// HTTP in the clear.
    Plain,
    /// With a certificate of a private authority.
    Private,
    /// The same, and clients must have a certificate of that authority.
    Mutual,
}

/// What a client's configuration knows of a registry with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Where it is.
    Address,
    /// That, and its authority.
    Authority,
    /// That, and the client's own certificate.
    Certificate,
}

/// What to add to the configuration of a registry whose one user is [`USER`].
#[must_use]
pub fn passwords() -> String {
    "auth:\n  htpasswd: {realm: tests, path: DIR/htpasswd}\n".to_owned()
}

impl Registry {
    /// A registry that lets everybody do everything.
    #[must_use]
    pub fn open() -> Self {
        Self::start(Tls::Plain, "")
    }

    /// A registry that lets [`USER`] do everything, and others nothing.
    #[must_use]
    pub fn guarded() -> Self {
        Self::start(Tls::Plain, &passwords())
    }

    /// A registry that lets everybody do everything with what is in `<folder>/registry`, which stays.
    #[must_use]
    pub fn over(folder: &Path) -> Self {
        Self::start_over(Some(folder), Tls::Plain, "")
    }

    /// A registry that speaks as `tls` says, with `more` at the end of its configuration.
    #[must_use]
    pub fn start(tls: Tls, more: &str) -> Self {
        Self::start_over(None, tls, more)
    }

    fn start_over(folder: Option<&Path>, tls: Tls, more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("registry-").tempdir().expect("make a temporary directory");
        fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("write htpasswd");
        if tls != Tls::Plain {
            openssl(dir.path(), CERTIFICATES);
        }
        let data = folder.map_or_else(|| dir.path().join("data"), |folder| folder.join("registry"));
        // Another process may take the port between our looking and its: then the next one is tried.
        for _ in 0..10 {
            if let Some((address, child)) = serve(dir.path(), &data, tls, more) {
                return Self { address, child, dir, tls };
            }
        }
        panic!("docker-registry does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The full name of an image here.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The folder of the authority's and the client's certificates, in docker's layout.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    /// A directory for `--hosts-dir` with a `hosts.toml` of this registry.
    #[must_use]
    pub fn hosts_dir(&self, known: Known) -> PathBuf {
        let (certs, dir) = (self.certificates().display().to_string(), self.dir.path().join(format!("{known:?}")));
        let mut text = format!("server = \"https://{}\"\n", self.address);
        if known != Known::Address {
            text.push_str(&format!("ca = \"{certs}/ca.crt\"\n"));
        }
        if known == Known::Certificate {
            text.push_str(&format!("client = [[\"{certs}/client.cert\", \"{certs}/client.key\"]]\n"));
        }
        fs::create_dir_all(dir.join(&self.address)).expect("make a directory of hosts");
        fs::write(dir.join(&self.address).join("hosts.toml"), text).expect("write hosts.toml");
        dir
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
        let mut command = Command::new("skopeo");
        command.arg("inspect").args(self.for_skopeo("")).arg(format!("docker://{}", self.name(rest)));
        let output = command.output().expect("Debian's package skopeo");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("skopeo prints JSON")
    }

    /// Has skopeo copy `source`, such as `oci-archive:<path>`, to image `rest` here.
    pub fn receive(&self, source: &str, rest: &str) {
        let mut command = Command::new("skopeo");
        command.args(["copy", "-q", "--preserve-digests"]).args(self.for_skopeo("dest-"));
        let output = command.arg(source).arg(format!("docker://{}", self.name(rest))).output();
        let output = output.expect("Debian's package skopeo");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Has skopeo copy image `rest` into `folder`: each blob a file named by its digest, which skopeo checks.
    pub fn send(&self, rest: &str, folder: &Path) {
        let mut command = Command::new("skopeo");
        command.args(["copy", "-q", "--preserve-digests"]).args(self.for_skopeo("src-"));
        command.arg(format!("docker://{}", self.name(rest))).arg(format!("dir:{}", folder.display()));
        let output = command.output().expect("Debian's package skopeo");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// How skopeo gets in; `end` says which end of a copy this registry is.
    fn for_skopeo(&self, end: &str) -> Vec<String> {
        let way = match self.tls {
            Tls::Plain => format!("--{end}tls-verify=false"),
            Tls::Private | Tls::Mutual => format!("--{end}cert-dir={}", self.certificates().display()),
        };
        vec![way, format!("--{end}creds={}:{}", USER.0, USER.1)]
    }
}

/// Runs a shell script that makes keys and certificates in `dir`.
pub(crate) fn openssl(dir: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).output().expect("run a shell");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts it on a free port; `None` if it ended at once.
fn serve(dir: &Path, data: &Path, tls: Tls, more: &str) -> Option<(String, Child)> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let at = dir.display().to_string();
    let section = match tls {
        Tls::Plain => "",
        Tls::Private => ", tls: {certificate: DIR/server.crt, key: DIR/server.key}",
        Tls::Mutual => ", tls: {certificate: DIR/server.crt, key: DIR/server.key, clientcas: [DIR/certs/ca.crt]}",
    };
    // By this header we know our own: two registries may have been given the same port, of which one gets it.
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         http: {{addr: \"{free}\", secret: tests, headers: {{X-Registry: [\"DIR\"]}}{section}}}\n\
         storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n{more}",
        data.display(),
    );
    fs::write(dir.join("config.yml"), config.replace("DIR", &at)).expect("write the registry's configuration");
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
        ended
            || match tls {
                Tls::Plain => answer(free).is_ok_and(|answer| answer.contains(&at)),
                Tls::Private | Tls::Mutual => shakes_hands(free, &dir.join("certs")),
            }
    });
    (!ended).then_some((address, child))
}

/// Whether whoever listens at `address` has a certificate of our own authority.
fn shakes_hands(address: SocketAddr, certs: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-verify_return_error", "-connect", &address.to_string()]);
    command.args(["-CAfile", "ca.crt", "-cert", "client.cert", "-key", "client.key"]).current_dir(certs);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
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
