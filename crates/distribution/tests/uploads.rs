//! Uploads to registries that are slow, send us elsewhere, or answer as the specification has it not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;

use bytes::Bytes;
use distribution::{Credential, Fixed, Mounted, Observer, Repository, Upload, Uploads};
use model::{Algorithm, Digest, Kind};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Pace, Server, hosts_toml, impatient, reply, repository, repository_as};
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
    let open = move |offset: u64| {
        let left = zeros(size - usize::try_from(offset).unwrap());
        async move { Ok(left) }
    };
    repository.push_blob(&digest(b"x"), size as u64, None, &Uploads::new(1), open).await
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
