//! How long a host is asked, and how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;

use model::Kind;
use std::{
    io::Read as _,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use support::{Server, reply, repository};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn served(_: &str, _: usize) -> Vec<u8> {
    reply("200 OK", &[("content-type", MANIFEST)], b"{}")
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
