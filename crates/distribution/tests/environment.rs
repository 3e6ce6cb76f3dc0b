//! What the environment of the process decides: proxies, and the authorities of the system.
//!
//! Each test runs once more in a process of its own, with the environment that it is about.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests report by panicking, and to the first process by its output"
)]

mod support;

use distribution::{Anonymous, Hosts, Limits, Repository, Tls};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};
use support::{Pace, Registry, Server, certificates, limits, reply, serve};

/// Set in the second process, to what it is to ask.
const ASK: &str = "TEST_ASK";

/// Whether this is the second process; else starts it for `test`, with `environment`.
fn is_inside(test: &str, ask: &str, environment: &[(&str, &str)]) -> bool {
    if env::var_os(ASK).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ASK, ask);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_DIR"] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Whether the registry `address` can be asked.
async fn answers(address: &str, scheme: &str, default_tls: Tls) -> bool {
    answers_by(address, &Hosts { default_scheme: Some(scheme.into()), default_tls, ..Hosts::default() }).await
}

/// The same, as `hosts` are configured.
async fn answers_by(address: &str, hosts: &Hosts) -> bool {
    let limits = Limits { retries: 0, ..limits() };
    let here = Repository::open(address, "app", hosts, &(Arc::new(Anonymous) as _), limits).unwrap();
    match here.manifest("v1").await {
        Err(error) if !error.is_not_found() => {
            println!("{address}: {error}");
            false
        }
        _ => true,
    }
}

fn registry() -> Server {
    Server::start(|_, _| reply("404 Not Found", &[], b""))
}

#[tokio::test]
async fn each_url_is_asked_through_its_proxy_or_directly() {
    let proxy = registry();
    let environment =
        [("HTTP_PROXY", proxy.address.as_str()), ("NO_PROXY", "direct.invalid:5000, *.corp.invalid,.y.invalid")];
    if !is_inside("each_url_is_asked_through_its_proxy_or_directly", "", &environment) {
        assert_eq!(proxy.count(), 5, "{:?}", proxy.heads);
        return;
    }
    for (address, proxied) in [
        ("proxied.invalid:5000", true),
        ("direct.invalid:5000", false),
        ("direct.invalid:5001", true),
        ("r.corp.invalid", false),
        ("corp.invalid", true),
        ("y.invalid", true),
    ] {
        assert_eq!(answers(address, "http", Tls::default()).await, proxied, "{address}");
    }
    // What is on this machine is asked directly, but not where it sends us.
    let here = Server::start(|_, _| reply("307 Temporary Redirect", &[("location", "http://r.invalid/v1")], b""));
    assert!(answers(&here.address, "http", Tls::default()).await);
    assert_eq!(here.count(), 1);
}

/// A SOCKS 5 proxy that answers for whatever it is asked for, and notes the names.
fn socks() -> (String, Arc<Mutex<Vec<String>>>) {
    fn take(stream: &mut TcpStream, bytes: u8) -> Vec<u8> {
        let mut taken = vec![0; bytes.into()];
        stream.read_exact(&mut taken).unwrap();
        taken
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // RFC 1928: the methods of authentication, of which none is chosen; then a name with its length, and a port.
            let methods = take(&mut stream, 2)[1];
            take(&mut stream, methods);
            stream.write_all(&[5, 0]).unwrap();
            let length = take(&mut stream, 5)[4];
            seen.lock().unwrap().push(String::from_utf8(take(&mut stream, length)).unwrap());
            take(&mut stream, 2);
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            serve(stream, &Mutex::default(), Pace::default(), &|_, _| reply("404 Not Found", &[], b""));
        }
    });
    (address, names)
}

#[tokio::test]
async fn a_socks_proxy_looks_names_up() {
    let (address, names) = socks();
    let proxy = format!("socks5://{address}");
    if is_inside("a_socks_proxy_looks_names_up", "", &[("HTTP_PROXY", &proxy)]) {
        assert!(answers("r.invalid:5000", "http", Tls::default()).await);
    } else {
        assert_eq!(*names.lock().unwrap(), ["r.invalid"]);
    }
}

#[tokio::test]
async fn plain_http_needs_no_authorities() {
    if is_inside("plain_http_needs_no_authorities", "", &[("SSL_CERT_FILE", "/dev/null")]) {
        assert!(answers(&registry().address, "http", Tls::default()).await);
    }
}

#[tokio::test]
async fn authorities_are_trusted_beside_the_systems_or_in_their_place() {
    let ask = env::var(ASK).unwrap_or_default();
    let Some((address, at)) = ask.split_once(' ') else {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let at = dir.path().display().to_string();
        let tls = format!("  tls: {{certificate: {at}/server.pem, key: {at}/server.key}}");
        let registry = Registry::start_in(dir, &tls, "");
        let (ask, system) = (format!("{} {at}", registry.address), format!("{at}/ca.pem"));
        let test = "authorities_are_trusted_beside_the_systems_or_in_their_place";
        is_inside(test, &ask, &[("SSL_CERT_FILE", &system)]);
        return;
    };
    for (file, exclusive, trusted) in [
        ("client.pem", false, true), // by the system
        ("client.pem", true, false),
        ("ca.pem", true, true),
    ] {
        let tls = Tls { authorities: vec![Path::new(at).join(file)], exclusive, ..Tls::default() };
        assert_eq!(answers(address, "https", tls).await, trusted, "{file} {exclusive}");
    }
}

/// 0.0.0.0 is this machine, but not known as such: who is there has to prove itself as anywhere else.
#[tokio::test]
async fn a_registry_elsewhere_is_trusted_by_dockers_files_or_without_a_look() {
    let ask = env::var(ASK).unwrap_or_default();
    let Some((address, at)) = ask.split_once(' ') else {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let at = dir.path().display().to_string();
        let tls = format!("  tls: {{certificate: {at}/server.pem, key: {at}/server.key}}");
        let registry = Registry::start_in(dir, &tls, "");
        let ask = format!("{} {at}", registry.address.replace("127.0.0.1", "0.0.0.0"));
        is_inside("a_registry_elsewhere_is_trusted_by_dockers_files_or_without_a_look", &ask, &[]);
        return;
    };
    let unchecked = || Tls { skip_verify: true, ..Tls::default() };
    assert!(!answers_by(address, &Hosts::default()).await, "nobody knows it");
    assert!(answers_by(address, &Hosts { default_tls: unchecked(), ..Hosts::default() }).await);
    let dirs = Path::new(at).join("hosts");
    let folder = dirs.join(address);
    fs::create_dir_all(&folder).unwrap();
    let hosts = |default_tls| Hosts { dirs: vec![dirs.clone()], default_tls, ..Hosts::default() };
    assert!(!answers_by(address, &hosts(Tls::default())).await, "nothing is configured");
    fs::copy(Path::new(at).join("ca.pem"), folder.join("ca.crt")).unwrap();
    assert!(answers_by(address, &hosts(Tls::default())).await, "by docker's files");
    for (text, default_tls, trusted) in [
        ("skip_verify = true", Tls::default(), true),
        ("skip_verify = false", Tls::default(), false),
        ("skip_verify = false", unchecked(), false),
        ("capabilities = [\"pull\"]", unchecked(), true),
    ] {
        fs::write(folder.join("hosts.toml"), text).unwrap();
        assert_eq!(answers_by(address, &hosts(default_tls)).await, trusted, "{text}");
    }
}
