//! How long a host is asked, and how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;
#[path = "support/tls.rs"]
mod tls;

use distribution::{Anonymous, Blob, Limits, Repository, Rests};
use model::{Algorithm, Digest, Kind};
use rustls::{ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};
use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{
    Pace, Server, bounded, certificates, hosts_toml, limits, reply, reply_claiming, repository, repository_as, serve,
};
use tls::server_tls;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const HOUR: Duration = Duration::from_secs(3600);

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn served(_: &str, _: usize) -> Vec<u8> {
    reply("200 OK", &[("content-type", MANIFEST)], b"{}")
}

/// A registry at `address`, with a mirror at another.
fn mirrored(dir: &std::path::Path, mirror: &str, address: &str) -> Repository {
    let text =
        format!("server = \"http://{address}\"\n[host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]");
    // Who waits for a mirror as long as it asks, waits for an hour.
    let limits = Limits { retries: 10, retry_after: HOUR, ..limits() };
    let hosts = hosts_toml(dir, "r.example", &text);
    Repository::open("r.example", "app", &hosts, &(Arc::new(Anonymous) as _), limits).unwrap()
}

/// What needs no waiting for anybody.
async fn without_waiting<T>(asked: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), asked).await.expect("nobody is waited for")
}

#[tokio::test]
async fn a_mirror_that_fails_is_asked_once_and_then_left_alone_for_a_while() {
    let config = tempfile::tempdir().unwrap();
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let mirror = Server::start(move |_, _| reply(status, &[("retry-after", "3600")], b""));
        let registry = Server::start(served);
        let here = mirrored(config.path(), &mirror.address, &registry.address);
        for _ in 0..4 {
            without_waiting(here.manifest("v1")).await.unwrap();
        }
        assert_eq!((mirror.count(), registry.count()), (1, 4), "{status}");
    }
    // Nobody there.
    let registry = Server::start(served);
    let here = mirrored(config.path(), "127.0.0.1:1", &registry.address);
    for _ in 0..4 {
        without_waiting(here.manifest("v1")).await.unwrap();
    }
    // One that does not say how long.
    let mirror = Server::start(|_, _| reply("500 Oops", &[], b""));
    let here = mirrored(config.path(), &mirror.address, &registry.address);
    let start = Instant::now();
    without_waiting(async {
        while mirror.count() < 2 {
            here.manifest("v1").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(start.elapsed() >= Duration::from_secs(1), "it was asked again after {:?}", start.elapsed());
}

#[tokio::test]
async fn who_shares_rests_leaves_alone_what_failed_others() {
    let mirror = Server::start(|_, _| reply("503 Service Unavailable", &[("retry-after", "3600")], b""));
    let registry = Server::start(served);
    let config = tempfile::tempdir().unwrap();
    let (rests, opened) = (Rests::default(), || mirrored(config.path(), &mirror.address, &registry.address));
    for _ in 0..3 {
        opened().with_rests(&rests).manifest("v1").await.unwrap();
    }
    assert_eq!((mirror.count(), registry.count()), (1, 3));
    opened().manifest("v1").await.unwrap();
    assert_eq!(mirror.count(), 2);
    // Another registry, or the same host configured in another way, is another matter.
    let serves = format!("server = \"http://{}\"\n[host.\"http://{}\"]", registry.address, mirror.address);
    for (other, more) in [("other.example", ""), ("r.example", "header.x-new = \"1\"")] {
        let hosts =
            hosts_toml(config.path(), other, &format!("{serves}\ncapabilities = [\"pull\", \"resolve\"]\n{more}"));
        let here = repository_as(other, "app", &hosts, Arc::new(Anonymous)).with_rests(&rests);
        here.manifest("v1").await.unwrap();
    }
    assert_eq!(mirror.count(), 4);
}

#[tokio::test]
async fn the_last_host_is_waited_for_as_it_asks() {
    let server = Server::start(|head, before| match before {
        0 => reply("429 Too Many Requests", &[("retry-after", "1")], b""),
        _ => served(head, before),
    });
    let start = Instant::now();
    repository(&server.address, "app").manifest("v1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_server_of_tokens_is_waited_for_as_it_asks() {
    let tokens = Server::start(|_, before| match before {
        0 => reply("429 Too Many Requests", &[("retry-after", "1")], b""),
        _ => reply("200 OK", &[], b"{\"token\":\"t\"}"),
    });
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.address);
    let server = Server::start(move |head, before| match head.contains("Bearer t") || head.contains("bearer t") {
        true => served(head, before),
        false => reply("401 Unauthorized", &[("www-authenticate", &challenge)], b""),
    });
    let start = Instant::now();
    repository(&server.address, "app").manifest("v1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(tokens.count(), 2);
    // With another host to ask, that one is.
    let tokens = Server::start(|_, _| reply("429 Too Many Requests", &[("retry-after", "3600")], b""));
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.address);
    let mirror = Server::start(move |_, _| reply("401 Unauthorized", &[("www-authenticate", &challenge)], b""));
    let registry = Server::start(served);
    let config = tempfile::tempdir().unwrap();
    let here = mirrored(config.path(), &mirror.address, &registry.address);
    for _ in 0..2 {
        without_waiting(here.manifest("v1")).await.unwrap();
    }
    assert_eq!((tokens.count(), mirror.count(), registry.count()), (1, 1, 2));
}

/// Who closes a handshake, or cannot be reached, may speak TLS in a moment: our secrets do not go there in the clear.
#[tokio::test]
async fn only_a_host_that_answers_without_tls_is_spoken_to_without() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let first_bytes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&first_bytes);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut hello = [0; 16 << 10];
            if stream.read(&mut hello).is_ok_and(|read| read > 0) {
                seen.lock().unwrap().push(hello[0]);
            }
        }
    });
    let error = repository(&address, "app").manifest("v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    let seen = first_bytes.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|byte| *byte == 0x16), "handshakes alone: {seen:?}");
}

/// Nothing is lost with a connection by HTTP/2 that died: another takes its place.
#[tokio::test]
async fn a_connection_without_signs_of_life_is_left_for_another() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let tls = server_tls(dir.path(), "h2");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&tls)).unwrap(), stream);
            // A handshake, and the preface of HTTP/2; then it hears no more.
            if stream.read_exact(&mut [0; 24]).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
            thread::spawn(move || {
                let _stream = stream;
                thread::sleep(HOUR);
            });
        }
    });
    let limits = Limits { progress: Duration::from_secs(12), retries: 1, ..limits() };
    let error = bounded(&address, limits).manifest("v1").await.unwrap_err();
    assert_eq!((error.kind(), connections.load(Ordering::SeqCst)), (Kind::Unavailable, 2), "{error}");
}

/// The registry r.example, which is at `address` without TLS, with more said of it in `text`.
fn plain(dir: &std::path::Path, address: &str, text: &str, limits: Limits) -> Repository {
    let hosts = hosts_toml(dir, "r.example", &format!("server = \"http://{address}\"\n{text}"));
    Repository::open("r.example", "app", &hosts, &(Arc::new(Anonymous) as _), limits).unwrap()
}

#[tokio::test]
async fn a_body_that_stalls_is_asked_for_from_where_it_stopped() {
    const SIZE: usize = 100_000;
    const PROGRESS: Duration = Duration::from_secs(4);
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let served = bytes.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        let (first, _) = listener.accept().unwrap();
        serve(first.try_clone().unwrap(), &seen, Pace::default(), &|_, _| {
            reply_claiming("200 OK", &[], &served[..SIZE / 2], SIZE)
        });
        for stream in listener.incoming().map_while(Result::ok) {
            serve(stream, &seen, Pace::default(), &|_, _| {
                reply("206 Partial Content", &[("content-range", "bytes 50000-99999/100000")], &served[SIZE / 2..])
            });
        }
        drop(first); // which kept the first connection open
    });
    let config = tempfile::tempdir().unwrap();
    let here = plain(config.path(), &address, "", Limits { progress: PROGRESS, ..limits() });
    let start = Instant::now();
    let mut body = here.blob(Blob::whole(digest(&bytes), SIZE as u64)).await.unwrap();
    let mut found = Vec::new();
    while let Some(chunk) = without_waiting(body.chunk()).await.unwrap() {
        found.extend_from_slice(&chunk);
    }
    assert!(found == bytes);
    assert!(start.elapsed() >= PROGRESS, "not before its time: {:?}", start.elapsed());
    let asked = heads.lock().unwrap()[1].to_ascii_lowercase();
    assert!(asked.contains("range: bytes=50000-\r\n"), "{asked}");
}

/// Zero sets no limit.
#[tokio::test]
async fn a_connection_may_take_as_long_as_it_takes() {
    let server = Server::start(served);
    let config = tempfile::tempdir().unwrap();
    let here = plain(config.path(), &server.address, "dial_timeout = \"0s\"", limits());
    here.manifest("v1").await.unwrap();
}

/// `Limits` would wait half a minute for a connection.
#[tokio::test]
async fn a_connection_may_take_as_long_as_the_host_is_configured_to() {
    // What nobody accepts fills the queue of connections; then the kernel answers no more.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        queue.push(stream);
    }
    let config = tempfile::tempdir().unwrap();
    let text = "dial_timeout = \"500ms\"";
    let here = plain(config.path(), &address.to_string(), text, Limits { retries: 0, ..Limits::default() });
    let start = Instant::now();
    let error = here.manifest("v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error}");
    let took = start.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(15)).contains(&took), "{took:?}");
}
