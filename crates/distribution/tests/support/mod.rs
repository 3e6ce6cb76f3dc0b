//! Registries for the tests: Debian's docker-registry, and one that misbehaves as told.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests report by panicking, and read better with plain arguments"
)]

use distribution::{Anonymous, Credentials, Hosts, Limits, Repository};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// docker-registry on a port of loopback; ended and removed when dropped.
#[derive(Debug)]
pub struct Registry {
    pub dir: TempDir,
    pub address: String,
    child: Child,
}

impl Registry {
    /// Starts one with more of its YAML configuration under `http:` and at the top.
    pub fn start(http: &str, top: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), http, top)
    }

    pub fn start_in(dir: TempDir, http: &str, top: &str) -> Self {
        // It takes a free port, and its log says which.
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {0}/data}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: tests\n{http}\n{top}\n",
            dir.path().display()
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("Debian's package docker-registry");
        let mut registry = Self { dir, address: String::new(), child };
        let start = Instant::now();
        while registry.address.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(120), "{}", registry.log());
            thread::sleep(Duration::from_millis(20));
            registry.address = registry.listening().unwrap_or_default();
        }
        registry
    }

    /// The address that it says it listens on, as soon as it does.
    fn listening(&self) -> Option<String> {
        let log = self.log();
        let (_, rest) = log.split_once("listening on ")?;
        let end = rest.find(|it: char| !(it.is_ascii_digit() || ".:".contains(it)))?;
        Some(rest[..end].to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A certificate authority, and a certificate of this machine and one of a client signed by it.
pub fn certificates(dir: &Path) {
    certificates_by(dir, "ca");
}

/// The same with the name of the authority. The client's has what `openssl` gives those who ask for nothing: version 1.
pub fn certificates_by(dir: &Path, authority: &str) {
    let script = r#"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$0 -keyout ca.key -out ca.pem
        printf 'subjectAltName=IP:127.0.0.1,IP:0.0.0.0\n' > server.ext
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
            extensions=$([ ! -f $name.ext ] || echo -extfile $name.ext)
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 $extensions -out $name.pem
        done"#;
    shell(dir, script, authority);
}

/// Runs `script` in `dir`, with `argument` as its `$0`.
pub fn shell(dir: &Path, script: &str, argument: &str) {
    let output = Command::new("sh").args(["-ec", script, argument]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Bounds that do not make a test of a failure take a minute, but leave a busy registry the time for its disk.
pub fn limits() -> Limits {
    Limits {
        progress: Duration::from_secs(180),
        settle: Duration::from_secs(180),
        retries: 2,
        retry_after: Duration::from_secs(1),
        document: 1 << 20,
        ..Limits::default()
    }
}

/// A repository whose registry is given up when nothing moves for as long as `progress`.
pub fn impatient(address: &str, progress: Duration) -> Repository {
    bounded(address, Limits { progress, settle: progress, ..limits() })
}

/// A repository whose registry has `limits`.
pub fn bounded(address: &str, limits: Limits) -> Repository {
    let credentials: Arc<dyn Credentials> = Arc::new(Anonymous);
    Repository::open(address, "app", &Hosts::default(), &credentials, limits).unwrap()
}

pub fn repository(address: &str, name: &str) -> Repository {
    repository_as(address, name, &Hosts::default(), Arc::new(Anonymous))
}

pub fn repository_as(address: &str, name: &str, hosts: &Hosts, credentials: Arc<dyn Credentials>) -> Repository {
    Repository::open(address, name, hosts, &credentials, limits()).unwrap()
}

/// A directory of hosts with `text` as the hosts.toml of `registry`.
pub fn hosts_toml(dir: &Path, registry: &str, text: &str) -> Hosts {
    fs::create_dir_all(dir.join(registry)).unwrap();
    fs::write(dir.join(registry).join("hosts.toml"), text).unwrap();
    Hosts { dirs: vec![dir.to_owned()], ..Hosts::default() }
}

/// An HTTP/1.1 server that answers each request with what `answer` makes of its head, and closes.
#[derive(Debug)]
pub struct Server {
    pub address: String,
    /// The heads of the requests so far, those with a form with that behind them.
    pub heads: Arc<Mutex<Vec<String>>>,
}

/// How fast a server takes the body of a request: so many bytes at a time, and a rest after each.
#[derive(Clone, Copy, Debug)]
pub struct Pace(pub usize, pub Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(1 << 20, Duration::ZERO)
    }
}

impl Server {
    /// `answer` gets the head, and how many requests came before.
    pub fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::paced(Pace::default(), answer)
    }

    /// The same, slower with bodies.
    pub fn paced(pace: Pace, answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, pace, &*answer));
            }
        });
        Self { address, heads }
    }

    pub fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// All heads in lower case.
    pub fn heard(&self) -> String {
        self.heads.lock().unwrap().concat().to_ascii_lowercase()
    }
}

/// The head of the request that comes by `stream`, unless that ends before.
pub fn head_of(mut stream: impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Whether what comes by `stream` begins as no request of HTTP does: the handshake of TLS.
pub fn is_handshake(stream: &TcpStream) -> bool {
    let mut first = [0];
    stream.peek(&mut first).is_ok_and(|peeked| peeked == 1 && !first[0].is_ascii_uppercase())
}

/// Serves the one request that comes by `stream`.
pub fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, pace: Pace, answer: &dyn Fn(&str, usize) -> Vec<u8>) {
    if is_handshake(&stream) {
        return refuse_tls(stream);
    }
    let Some(head) = head_of(&stream) else { return };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(head.clone());
        seen.len() - 1
    };
    let reply = answer(&head, before);
    if reply.is_empty() {
        thread::sleep(Duration::from_secs(600)); // a stalled peer
        return;
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut left: usize = length.unwrap_or(0);
    let mut bytes = vec![0; pace.0];
    let is_form = head.to_ascii_lowercase().contains("content-type: application/x-www-form-urlencoded");
    while left > 0 {
        let wanted = left.min(pace.0);
        match stream.read(&mut bytes[..wanted]) {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                left -= read;
                if is_form {
                    seen.lock().unwrap()[before].push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
            }
        }
        thread::sleep(pace.1);
    }
    drop(stream.write_all(&reply));
}

/// What servers that speak no TLS say to its handshake.
pub fn refuse_tls(mut stream: impl Read + Write) {
    // What is not read would reset the connection, and take the answer along.
    let _ = stream.read(&mut [0; 16 << 10]);
    drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
}

/// An answer with a right length.
pub fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    reply_claiming(status, headers, body, body.len())
}

/// An answer that claims to have `length` bytes.
pub fn reply_claiming(status: &str, headers: &[(&str, &str)], body: &[u8], length: usize) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
