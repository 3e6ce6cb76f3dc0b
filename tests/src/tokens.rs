//! A token server as registries send their clients to (the Docker Registry v2 token specification): it signs what a
//! client with the right secret asks for, over GET with a password, and over POST as OAuth 2 has it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::{USER, openssl};

/// A refresh token that is as good as the password.
pub const REFRESH: &str = "refresh-me-if-you-can";

/// The name of the registry towards the token server.
const SERVICE: &str = "registry.tests";
/// Whom the registry trusts.
const ISSUER: &str = "tests";

/// A running token server. Its threads end with the process.
#[derive(Debug)]
pub struct Tokens {
    address: String,
    dir: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    /// Starts one on a free port.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("tokens-").tempdir().expect("make a temporary directory");
        openssl(
            dir.path(),
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens -keyout key.pem -out cert.pem",
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, folder) = (Arc::clone(&asked), dir.path().to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (seen, folder) = (Arc::clone(&seen), folder.clone());
                // A client that goes away is none of our business.
                thread::spawn(move || drop(serve(&client, &seen, &folder)));
            }
        });
        Self { address, dir, asked }
    }

    /// The `auth` section of a registry that wants tokens of this server.
    #[must_use]
    pub fn section(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            self.address,
            self.dir.path().join("cert.pem").display()
        )
    }

    /// What was asked so far: method and parameters.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

/// Answers one request.
fn serve(mut client: &TcpStream, asked: &Mutex<Vec<String>>, dir: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let found = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        found.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut body = String::new();
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_string(&mut body)?;
    let query = if method == "POST" { &body } else { url.split_once('?').map_or("", |(_, query)| query) };
    let parameters: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (plain(key), plain(value)))
        .collect();
    let kind = parameters.iter().find(|(key, _)| key == "grant_type").map_or("", |(_, kind)| kind);
    asked.lock().expect("nobody panics with it").push(format!("{method} {kind}").trim().to_owned());
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", USER.0, USER.1)));
    let has = |key: &str, value: &str| parameters.iter().any(|(k, v)| k == key && v == value);
    let known = match kind {
        "password" => has("username", USER.0) && has("password", USER.1),
        "refresh_token" => has("refresh_token", REFRESH),
        _ => header("authorization") == Some(basic),
    };
    let (status, answer) = if known && has("service", SERVICE) {
        let scopes = parameters.iter().filter(|(key, _)| key == "scope").flat_map(|(_, scopes)| scopes.split(' '));
        let token = token(dir, scopes);
        ("200 OK", json!({ "token": token, "access_token": token, "expires_in": 300 }))
    } else {
        ("401 Unauthorized", json!({ "details": "who are you?" }))
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    write!(client, "{head}content-length: {}\r\n\r\n{answer}", answer.len())
}

/// A word of a query or form without its escapes.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A signed token for scopes such as `repository:team/app:pull,push`.
fn token<'a>(dir: &Path, scopes: impl Iterator<Item = &'a str>) -> String {
    let access: Vec<Value> = scopes
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let claims = json!({
        "iss": ISSUER, "sub": USER.0, "aud": SERVICE, "iat": now - 10, "nbf": now - 10, "exp": now + 300,
        "jti": now.to_string(), "access": access,
    });
    let pem = fs::read_to_string(dir.join("cert.pem")).expect("read the certificate");
    let certificate: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let header = json!({ "alg": "RS256", "typ": "JWT", "x5c": [certificate] });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature(&dir.join("key.pem"), &signed)))
}

fn signature(key: &Path, text: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-binary", "-sign"]).arg(key);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the package openssl");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a pipe holds a token");
    child.wait_with_output().expect("wait for openssl").stdout
}
