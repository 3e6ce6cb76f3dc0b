//! Registries that misbehave, as the daemon and ctr meet them: what passes is waited for, what does not is an error that
//! names its object, and nothing but what can be resumed is left.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::bed::BUSYBOX;
use tests::image::{Blobs, busybox, digest, media};
use tests::{Bed, memory, rows};

rows!(what_passes_is_waited_for: our_ctr(Ours Ours Ours));
rows!(what_does_not_is_an_error: our_ctr(Ours Ours Ours));

/// Most bytes that anybody may have taken of a document without an end; much of it is in buffers on the way.
const ENOUGH: u64 = 64 << 20;

/// The small image in repositories that are named after what they do wrong.
struct Bad {
    blobs: Blobs,
    /// How often each path was asked for.
    asked: Mutex<HashMap<String, usize>>,
    /// Bytes of the manifest without an end that went out.
    endless: AtomicU64,
}

impl Bad {
    /// Serves on a port of loopback until the process ends.
    fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bad = Self { blobs: busybox(BUSYBOX).blobs(), asked: Mutex::default(), endless: AtomicU64::new(0) };
        let bad = Arc::new(bad);
        let shared = Arc::clone(&bad);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let bad = Arc::clone(&shared);
                // Clients hang up on such answers.
                thread::spawn(move || drop(bad.answer(&client)));
            }
        });
        (bad, address)
    }

    /// The layer that is served badly.
    fn layer(&self) -> String {
        digest(&self.blobs.layers[0])
    }

    fn answer(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut head = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
        let first = head.next().unwrap_or_default();
        head.take_while(|line| !line.is_empty()).for_each(drop);
        let mut words = first.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.split('?').next().unwrap_or_default();
        let mut parts = path.trim_start_matches("/v2/").splitn(2, '/');
        let (repository, what) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let before = {
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry(format!("{method} {path}")).or_default();
            *count += 1;
            *count - 1
        };
        let mut reply = |status: &str, headers: &str, body: &[u8]| {
            let body = if method == "HEAD" { b"" } else { body };
            write!(client, "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n\r\n")?;
            client.write_all(body)
        };
        let length = |bytes: &[u8]| format!("content-length: {}", bytes.len());
        let layer = &self.blobs.layers[0];
        let is_layer = what == format!("blobs/{}", self.layer());
        let wrong = repository.split('_').next().unwrap_or_default();
        match (wrong, before) {
            ("errors", 0 | 1) if is_layer => reply("500 Internal Server Error", "content-length: 0", b""),
            ("busy", 0) if is_layer || what == "manifests/1" => {
                reply("429 Too Many Requests", "retry-after: 1\r\ncontent-length: 0", b"")
            }
            ("refuses", _) if is_layer => {
                reply("429 Too Many Requests", "retry-after: 0\r\ncontent-length: 9", b"slow down")
            }
            ("loops", _) if is_layer => {
                reply("307 Temporary Redirect", &format!("location: {path}\r\ncontent-length: 0"), b"")
            }
            ("digest", _) if is_layer => {
                let mut other = layer.clone();
                other[layer.len() / 2] ^= 0xff;
                reply("200 OK", &length(&other), &other)
            }
            ("short", _) if is_layer => reply("200 OK", &length(&layer[100..]), &layer[..layer.len() - 100]),
            ("long", _) if is_layer => {
                let more = [&layer[..], &[0; 100]].concat();
                reply("200 OK", &length(&more), &more)
            }
            ("claims", _) if what == "manifests/1" => {
                let claim = format!("content-type: {}\r\ncontent-length: {}", media::MANIFEST, 1 << 30);
                reply("200 OK", &claim, b"{}")
            }
            ("endless", _) if what == "manifests/1" => {
                reply("200 OK", &format!("content-type: {}", media::MANIFEST), b"{")?;
                let spaces = [b' '; 64 << 10];
                while method == "GET" && self.endless.load(Ordering::Relaxed) < 1 << 30 {
                    client.write_all(&spaces)?;
                    self.endless.fetch_add(spaces.len() as u64, Ordering::Relaxed);
                }
                Ok(())
            }
            _ => match self.find(what) {
                Some((kind, bytes)) => {
                    let known = format!("content-type: {kind}\r\ndocker-content-digest: {}\r\n", digest(bytes));
                    reply("200 OK", &(known + &length(bytes)), bytes)
                }
                None => reply("404 Not Found", "content-length: 0", b""),
            },
        }
    }

    /// A document or blob by its path.
    fn find(&self, what: &str) -> Option<(&'static str, &Vec<u8>)> {
        let (kind, name) = what.split_once('/')?;
        let Blobs { layers, config, manifest } = &self.blobs;
        match kind {
            "manifests" => (name == "1" || name == digest(manifest)).then_some((media::MANIFEST, manifest)),
            _ => layers.iter().chain([config]).find(|blob| digest(blob) == name).map(|blob| (media::GZIP, blob)),
        }
    }
}

fn what_passes_is_waited_for(bed: &mut Bed) {
    let (bad, address) = Bad::start();
    for (way, local) in ["", "--local"].into_iter().enumerate() {
        for (wrong, times) in [("errors", 3), ("busy", 2)] {
            let (remote, ctr, start) = (format!("{address}/{wrong}_{way}:1"), bed.ctr(), Instant::now());
            ctr.ok(&format!("images pull {local} --plain-http {remote}"));
            assert!(ctr.ok("images check").contains("complete (4/4)"));
            let layer = format!("GET /v2/{wrong}_{way}/blobs/{}", bad.layer());
            assert_eq!(bad.asked.lock().unwrap()[&layer], times, "{local} {wrong}");
            assert!(
                wrong != "busy" || start.elapsed() >= Duration::from_secs(1),
                "{local}: sooner than it was asked to"
            );
            ctr.ok(&format!("images rm --sync {remote}"));
        }
    }
}

fn what_does_not_is_an_error(bed: &mut Bed) {
    let (bad, address) = Bad::start();
    let (layer, expected) = (bad.layer(), format!("bytes, expected {}", bad.blobs.layers[0].len()));
    memory::forget_peak(bed.daemon.pid());
    let before = memory::rss(bed.daemon.pid());
    for (way, local) in ["", "--local"].into_iter().enumerate() {
        for (wrong, object, why) in [
            ("refuses", layer.as_str(), "slow down"),
            ("loops", &layer, "redirects"),
            ("digest", &layer, "unexpected commit digest"),
            ("short", &layer, &expected),
            ("long", &layer, &expected),
            ("claims", "manifest 1 of ", "larger than"),
            ("endless", "manifest 1 of ", "larger than"),
        ] {
            // What another attempt has left would be gone on with.
            let ctr = bed.ctr().in_namespace(&format!("{wrong}-{way}"));
            let out = ctr.run(&format!("images pull {local} --plain-http {address}/{wrong}_{way}:1"));
            assert_eq!(out.code, 1, "{local} {wrong}: {out:?}");
            assert!(out.stderr.contains(object) && out.stderr.contains(why), "{local} {wrong}: {out:?}");
            assert!(ctr.names("images ls").is_empty() && ctr.names("leases ls").is_empty(), "{local} {wrong}");
            tests::eventually("no snapshot", || ctr.names("snapshots ls").is_empty());
        }
    }
    assert!(bad.endless.load(Ordering::Relaxed) < ENOUGH);
    let grown = memory::peak(bed.daemon.pid()).saturating_sub(before);
    assert!(grown < ENOUGH, "the daemon grew by {grown} bytes");
}
