//! Uploads to registries that are slow, send us elsewhere, or answer as the specification has it not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;
#[path = "support/tls.rs"]
mod tls;

use bytes::Bytes;
use distribution::{Credential, Fixed, Mounted, Observer, Repository, Upload, Uploads};
use model::{Algorithm, Digest, Kind};
use rustls::{ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, Read, Write},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{
    Pace, Server, bounded, certificates, head_of, hosts_toml, impatient, is_handshake, refuse_tls, reply, repository,
    repository_as,
};
use tls::server_tls;
use tokio_stream::Stream;

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// `size` bytes in pieces, as they come from a file.
fn zeros(size: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    const PIECE: usize = 256 << 10;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    let pieces = (0..size).step_by(PIECE).map(move |at| Ok(Bytes::from_static(&ZEROS[..PIECE.min(size - at)])));
    tokio_stream::iter(pieces)
}

/// Begins the upload of some blob.
async fn begun(repository: &Repository) -> Upload<'_> {
    match repository.upload(&digest(b"x"), None).await.unwrap() {
        Mounted::Upload(upload) => upload,
        Mounted::Present => panic!("it is new"),
    }
}

/// What a registry answers to a request for a blob that it has not got, and to one that begins an upload at `location`.
fn beginning(head: &str, location: &str) -> Option<Vec<u8>> {
    match head.split(' ').next()? {
        "HEAD" => Some(reply("404 Not Found", &[], b"")),
        "POST" => Some(reply("202 Accepted", &[("location", location)], b"")),
        _ => None,
    }
}

/// The bound is on progress, not on the whole: this takes far longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_not_given_up_while_bytes_go_out() {
    const SIZE: usize = 32 << 20;
    const PROGRESS: Duration = Duration::from_millis(2500);
    let server = Server::paced(Pace(128 << 10, Duration::from_millis(12)), |head, _| {
        beginning(head, "/v2/app/blobs/uploads/1?_state=s").unwrap_or_else(|| reply("201 Created", &[], b""))
    });
    let here = impatient(&server.address, PROGRESS);
    // A bound on the whole would fail every attempt; a machine that is busy for a moment fails one.
    for attempt in 1.. {
        let start = Instant::now();
        let sent = async {
            let Mounted::Upload(mut upload) = here.upload(&digest(b"x"), None).await? else { panic!("it is new") };
            upload.whole(SIZE as u64, zeros(SIZE)).await
        };
        match sent.await {
            Ok(()) => return assert!(start.elapsed() > PROGRESS, "slow enough to tell: {:?}", start.elapsed()),
            Err(error) => assert!(attempt < 5 && error.kind() == Kind::DeadlineExceeded, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_takes_is_given_up() {
    const SIZE: usize = 64 << 20;
    let server = Server::start(|head, _| beginning(head, "/v2/app/blobs/uploads/1").unwrap_or_default());
    let here = impatient(&server.address, Duration::from_secs(5));
    // And one that is taken and never answered.
    let both = async {
        let (mut large, mut small) = (begun(&here).await, begun(&here).await);
        tokio::join!(large.whole(SIZE as u64, zeros(SIZE)), small.whole(1, zeros(1)))
    };
    let (large, small) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("they are given up");
    for error in [large.unwrap_err(), small.unwrap_err()] {
        assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error}");
    }
}

/// A registry at `address` that wants a password and a header.
fn guarded(dir: &std::path::Path, address: &str) -> Repository {
    let hosts = hosts_toml(dir, "r.example", &format!("server = \"http://{address}\"\n[header]\nx-secret = \"s\"\n"));
    let credential = Credential::Basic { username: "u".into(), password: "p".into() };
    repository_as("r.example", "app", &hosts, Arc::new(Fixed { host: address.to_owned(), credential }))
}

#[tokio::test]
async fn what_is_configured_and_who_we_are_goes_with_every_request_to_the_registry() {
    let server = Server::start(|head, _| {
        let head = head.to_ascii_lowercase();
        if !head.contains("authorization: basic") || !head.contains("x-secret: s\r\n") {
            return reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b"");
        }
        beginning(&head.to_ascii_uppercase(), "/v2/app/blobs/uploads/1")
            .unwrap_or_else(|| reply("201 Created", &[("location", "/v2/app/blobs/uploads/1")], b""))
    });
    let config = tempfile::tempdir().unwrap();
    let here = guarded(config.path(), &server.address);
    begun(&here).await.whole(3, zeros(3)).await.unwrap();
    let heads = server.heads.lock().unwrap().clone();
    let put = heads.iter().find(|head| head.starts_with("PUT")).unwrap().to_ascii_lowercase();
    assert!(put.contains("content-type: application/octet-stream") && put.contains("content-length: 3\r\n"), "{put}");
    let mut upload = begun(&here).await;
    upload.chunk(Bytes::from_static(b"x")).await.unwrap();
    upload.commit().await.unwrap();
}

/// Storage of another host: its signature is all that it has to know.
#[tokio::test]
async fn credentials_and_headers_do_not_follow_an_upload_to_another_host() {
    // It would like to know who we are.
    let storage = Server::start(|head, _| match head.starts_with("GET") {
        true => reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b""),
        false => reply("202 Accepted", &[("location", "/up?signature=next")], b""),
    });
    let location = format!("http://{}/up?signature=first", storage.address);
    let server = Server::start(move |head, _| {
        if !head.to_ascii_lowercase().contains("authorization: basic") {
            return reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b"");
        }
        beginning(head, &location).unwrap()
    });
    let config = tempfile::tempdir().unwrap();
    let here = guarded(config.path(), &server.address);
    begun(&here).await.whole(1, zeros(1)).await.unwrap();
    let mut upload = begun(&here).await;
    upload.chunk(Bytes::from_static(b"x")).await.unwrap();
    assert!(upload.status().await.is_err());
    upload.commit().await.unwrap();
    let heard = storage.heard();
    assert_eq!(storage.count(), 4, "a challenge that is none of ours is not answered: {heard}");
    assert!(!heard.contains("authorization") && !heard.contains("x-secret"), "{heard}");
}

#[derive(Debug, Default)]
struct Told(Mutex<String>);

impl Observer for Told {
    fn tell(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }

    fn trace(&self, text: &str) {
        self.tell(text);
    }
}

#[tokio::test]
async fn signatures_are_in_no_error_and_no_dump() {
    let server = Server::start(|head, _| {
        beginning(head, "http://127.0.0.1:1/up?signature=word").unwrap_or_else(|| reply("400 Bad Request", &[], b""))
    });
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = Arc::clone(&told) as _;
    let here = repository(&server.address, "app").observed(&observer);
    let mut upload = begun(&here).await;
    for error in [
        upload.whole(1, zeros(1)).await.unwrap_err(),
        upload.status().await.unwrap_err(),
        upload.chunk(Bytes::from_static(b"x")).await.unwrap_err(),
        upload.commit().await.unwrap_err(),
    ] {
        let text = format!("{error} {error:?}");
        assert!(text.contains("127.0.0.1:1/up") && !text.contains("word"), "{text}");
    }
    let told = told.0.lock().unwrap().clone();
    assert!(told.contains("> PUT http://127.0.0.1:1/up\n"), "the body's request is told, too: {told}");
    assert!(told.contains("location: http://127.0.0.1:1/up\n") && !told.contains("word"), "{told}");
}

async fn push(repository: &Repository, size: usize) -> model::Result<bool> {
    push_by(repository, size, &Uploads::new(1)).await
}

async fn push_by(repository: &Repository, size: usize, uploads: &Uploads) -> model::Result<bool> {
    let open = move |offset: u64| {
        let left = zeros(size - usize::try_from(offset).unwrap());
        async move { Ok(left) }
    };
    repository.push_blob(&digest(b"x"), size as u64, None, uploads, open).await
}

/// Answers what it is asked by `stream`, but reads no body: it says `early` instead, if anything.
fn deaf(mut stream: impl Read + Write, early: &[u8]) {
    while let Some(head) = head_of(&mut stream) {
        if head.starts_with("PUT") {
            drop(stream.write_all(early));
            return thread::sleep(Duration::from_secs(600));
        }
        let reply = beginning(&head, "/v2/app/blobs/uploads/1").unwrap_or_else(|| reply("404 Not Found", &[], b""));
        if stream.write_all(&reply).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// The HTTP client keeps the body of a request that was answered early, or given up, for as long as the connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_no_more_is_taken_holds_up_no_other() {
    const SIZE: usize = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let tls = server_tls(dir.path(), "http/1.1");
    for tls in [None, Some(tls)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_tls = tls.is_some();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tls = tls.clone();
                thread::spawn(move || match tls {
                    Some(tls) => deaf(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), b""),
                    None if is_handshake(&stream) => refuse_tls(stream),
                    None => deaf(stream, b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
                });
            }
        });
        // The kernel gives a connection up after twice that.
        let here = impatient(&address, Duration::from_secs(if is_tls { 3 } else { 180 }));
        let uploads = Uploads::new(1);
        for _ in 0..2 {
            let sent = tokio::time::timeout(Duration::from_secs(120), push_by(&here, SIZE, &uploads)).await;
            let error = sent.expect("no turn is kept").unwrap_err();
            let expected = if is_tls { Kind::DeadlineExceeded } else { Kind::Unavailable };
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}

/// However much it says that it has.
#[tokio::test]
async fn a_registry_that_has_more_than_there_is_gets_the_blob_anew() {
    for range in ["0-10", "0-18446744073709551615"] {
        let server = Server::start(move |head, before| match (head.split(' ').next(), before) {
            (Some("PUT"), 2) => reply("500 Oops", &[], b""),
            (Some("PUT"), _) => reply("201 Created", &[], b""),
            (Some("GET"), _) => reply("204 No Content", &[("range", range)], b""),
            _ => beginning(head, "/v2/app/blobs/uploads/1").unwrap(),
        });
        assert!(push(&repository(&server.address, "app"), 10).await.unwrap(), "{range}");
        let heard = server.heard();
        assert_eq!((heard.matches("post /").count(), heard.matches("put /").count()), (2, 2), "{range}");
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_pieces_gets_the_blob_anew() {
    let server = Server::start(move |head, before| match (head.split(' ').next(), before) {
        (Some("PUT"), 2) => reply("500 Oops", &[], b""),
        (Some("PUT"), _) => reply("201 Created", &[], b""),
        (Some("GET"), _) => reply("204 No Content", &[("range", "0-4")], b""),
        (Some("PATCH"), _) => reply("405 Method Not Allowed", &[], b""),
        _ => beginning(head, "/v2/app/blobs/uploads/1").unwrap(),
    });
    assert!(push(&repository(&server.address, "app"), 10).await.unwrap());
    assert_eq!(server.heard().matches("patch /").count(), 1);
}

#[tokio::test]
async fn pieces_are_as_large_as_the_registry_wants_them() {
    const SIZE: usize = 12 << 20;
    for (least, pieces) in [("7000000", 2), ("100000000", 0)] {
        let server = Server::start(move |head, before| match (head.split(' ').next(), before) {
            (Some("POST"), _) => {
                let location = ("location", "/v2/app/blobs/uploads/1");
                reply("202 Accepted", &[location, ("oci-chunk-min-length", least)], b"")
            }
            (Some("PUT"), 2) => reply("500 Oops", &[], b""),
            (Some("PUT"), _) => reply("201 Created", &[], b""),
            (Some("GET"), _) => reply("204 No Content", &[("range", "0-99")], b""),
            (Some("PATCH"), _) => reply("202 Accepted", &[("location", "/v2/app/blobs/uploads/1")], b""),
            _ => reply("404 Not Found", &[], b""),
        });
        assert!(push(&repository(&server.address, "app"), SIZE).await.unwrap(), "{least}");
        assert_eq!(server.heard().matches("patch /").count(), pieces, "{least}: {}", server.heard());
    }
}

/// As containerd takes it.
#[tokio::test]
async fn a_location_may_lack_its_scheme() {
    let own = Arc::new(Mutex::new(String::new()));
    let address = Arc::clone(&own);
    let server = Server::start(move |head, _| {
        let location = format!("{}/v2/app/blobs/uploads/1", address.lock().unwrap());
        beginning(head, &location).unwrap_or_else(|| reply("201 Created", &[], b""))
    });
    own.lock().unwrap().push_str(&server.address);
    assert!(push(&repository(&server.address, "app"), 10).await.unwrap());
    assert!(server.heard().contains("put /v2/app/blobs/uploads/1?digest="), "{}", server.heard());
}

/// A proxy of registries has to know with each request for which of them it is.
#[tokio::test]
async fn a_server_elsewhere_is_told_which_registry_is_meant_throughout() {
    let location = "/v2/app/blobs/uploads/1?_state=s";
    let server = Server::start(move |head, before| match (head.split(' ').next(), before) {
        (Some("PUT"), 2) => reply("500 Oops", &[], b""),
        (Some("PUT"), _) => reply("201 Created", &[], b""),
        (Some("GET"), _) if head.contains("/tags/") && before < 7 => {
            reply("200 OK", &[("link", "</v2/app/tags/list?last=a>; rel=\"next\"")], b"{\"tags\":[\"a\"]}")
        }
        (Some("GET"), _) if head.contains("/tags/") => reply("200 OK", &[], b"{\"tags\":[\"b\"]}"),
        (Some("GET"), _) => reply("204 No Content", &[("range", "0-4"), ("location", location)], b""),
        (Some("PATCH"), _) => reply("202 Accepted", &[("location", location)], b""),
        _ => beginning(head, location).unwrap(),
    });
    let config = tempfile::tempdir().unwrap();
    let hosts = hosts_toml(config.path(), "r.example", &format!("server = \"http://{}\"", server.address));
    let here = repository_as("r.example", "app", &hosts, Arc::new(distribution::Anonymous));
    assert!(push(&here, 10).await.unwrap());
    assert_eq!(here.tags().await.unwrap(), ["a", "b"]);
    let heads = server.heads.lock().unwrap().clone();
    let lines: Vec<_> = heads.iter().filter_map(|head| head.lines().next()).collect();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    for line in lines {
        assert_eq!(line.matches("ns=r.example").count(), 1, "{line}");
    }
}

#[tokio::test]
async fn what_is_sent_follows_a_redirect_that_keeps_it() {
    for (status, follows) in
        [("307 Temporary Redirect", true), ("308 Permanent Redirect", true), ("302 Found", false), ("301 Moved", false)]
    {
        let server = Server::start(move |head, _| match head.starts_with("PUT /moved ") {
            true => reply("201 Created", &[], b""),
            false => reply(status, &[("location", "/moved")], b""),
        });
        let here = repository(&server.address, "app");
        let put = here.put_manifest("v1", "application/json", Bytes::from_static(b"{}")).await;
        assert_eq!(put.is_ok(), follows, "{status}: {put:?}");
        assert_eq!(server.heard().matches("content-length: 2\r\n").count(), if follows { 2 } else { 1 });
    }
}

/// A large blob may take a registry minutes to move to its place.
#[tokio::test]
async fn an_answer_to_a_whole_body_may_take_longer_than_a_piece_of_it() {
    let server = Server::start(|head, _| {
        beginning(head, "/v2/app/blobs/uploads/1").unwrap_or_else(|| {
            if head.starts_with("PUT") {
                thread::sleep(Duration::from_secs(6));
            }
            reply("202 Accepted", &[("location", "/v2/app/blobs/uploads/1")], b"")
        })
    });
    let limits = distribution::Limits { progress: Duration::from_secs(3), ..support::limits() };
    let here = bounded(&server.address, limits);
    begun(&here).await.whole(10, zeros(10)).await.unwrap();
    // In chunks, it is the request that closes the upload.
    let mut upload = begun(&here).await;
    upload.chunk(Bytes::from_static(b"x")).await.unwrap();
    upload.commit().await.unwrap();
}

#[tokio::test]
async fn any_success_is_one() {
    for begin in ["200 OK", "202 Accepted", "204 No Content"] {
        for end in ["200 OK", "201 Created", "202 Accepted", "204 No Content"] {
            let server = Server::start(move |head, _| match head.split(' ').next() {
                Some("HEAD") => reply("404 Not Found", &[], b""),
                Some("POST") => reply(begin, &[("location", "/v2/app/blobs/uploads/1")], b""),
                _ => reply(end, &[], b""),
            });
            assert!(push(&repository(&server.address, "app"), 10).await.unwrap(), "{begin}, {end}");
            assert_eq!(server.count(), 3, "{begin}, {end}");
        }
    }
}

/// A registry that does not tell how far an upload is: then it begins anew.
#[tokio::test]
async fn an_upload_that_cannot_be_asked_about_begins_anew() {
    for status in ["400 Bad Request", "404 Not Found", "405 Method Not Allowed", "416 Range Not Satisfiable"] {
        let server = Server::start(move |head, before| {
            beginning(head, "/v2/app/blobs/uploads/1").unwrap_or_else(|| match (head.starts_with("PUT"), before) {
                (true, 2) => reply("500 Internal Server Error", &[], b""),
                (true, _) => reply("201 Created", &[], b""),
                (false, _) => reply(status, &[], b""),
            })
        });
        assert!(push(&repository(&server.address, "app"), 10).await.unwrap(), "{status}");
        assert_eq!(server.heard().matches("post /").count(), 2, "{status}");
    }
}

/// A registry that says "429, in a second" to the first request of `method` for a blob of ten bytes, and breaks the
/// first one before that, if it is not that.
fn busy(method: &'static str) -> Server {
    let (put, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Server::start(move |head, _| {
        let first = |count: &AtomicUsize| count.fetch_add(1, Ordering::SeqCst) == 0;
        let location = ("location", "/v2/app/blobs/uploads/1");
        match head.split(' ').next() {
            Some(asked) if asked == method && first(&refused) => {
                reply("429 Too Many Requests", &[("retry-after", "1")], b"")
            }
            Some("PUT") if method != "PUT" && first(&put) => reply("500 Oops", &[], b""),
            Some("PUT") => reply("201 Created", &[], b""),
            Some("PATCH") => reply("202 Accepted", &[location], b""),
            Some("GET") if method == "PUT" => reply("204 No Content", &[location, ("range", "0-0")], b""),
            Some("GET") => reply("204 No Content", &[location, ("range", "0-4")], b""),
            _ => beginning(head, location.1).unwrap(),
        }
    })
}

#[tokio::test]
async fn a_registry_that_wants_no_bytes_for_now_is_waited_for_as_it_asks() {
    for (method, requests) in [
        ("PUT", ["HEAD", "POST", "PUT", "GET", "PUT"].as_slice()),
        ("PATCH", &["HEAD", "POST", "PUT", "GET", "PATCH", "GET", "PATCH", "PUT"]),
    ] {
        let server = busy(method);
        let start = Instant::now();
        assert!(push(&repository(&server.address, "app"), 10).await.unwrap(), "{method}");
        assert!(start.elapsed() >= Duration::from_secs(1), "{method}: {:?}", start.elapsed());
        let heads = server.heads.lock().unwrap().clone();
        let methods: Vec<_> = heads.iter().filter_map(|head| head.split(' ').next()).collect();
        assert_eq!(methods, requests);
    }
}
