//! Against registries that cut, lie, loop, stall and refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;

use distribution::{Anonymous, Blob, Body, Credential, Credentials, Fixed, Hosts};
use model::{Algorithm, Digest, Kind};
use sha2::{Digest as _, Sha256};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{Server, hosts_toml, impatient, reply, reply_claiming, repository, repository_as};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// The first byte that a request's `Range` asks for.
fn asked_from(head: &str) -> usize {
    let range =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0)
}

async fn read(address: &str, bytes: &[u8]) -> model::Result<Vec<u8>> {
    let repository = repository(address, "app");
    all(repository.blob(Blob::whole(digest(bytes), bytes.len() as u64)).await?).await
}

async fn all(mut body: Body<'_>) -> model::Result<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        found.extend_from_slice(&chunk);
    }
    Ok(found)
}

#[tokio::test]
async fn a_body_that_is_cut_again_and_again_is_asked_for_from_where_it_broke() {
    let bytes: Vec<u8> = (0..50_000_u32).map(|i| (i % 250) as u8).collect();
    let served = bytes.clone();
    let server = Server::start(move |head, _| {
        let from = asked_from(head);
        let to = (from + 7_000).min(served.len());
        let range = format!("bytes {from}-{}/{}", served.len() - 1, served.len());
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        reply_claiming(status, &[("content-range", &range)], &served[from..to], served.len() - from)
    });
    assert!(read(&server.address, &bytes).await.unwrap() == bytes);
    assert_eq!(server.count(), 8);
}

#[tokio::test]
async fn a_host_without_ranges_is_read_from_the_beginning_again() {
    let bytes: Vec<u8> = (0..50_000_u32).map(|i| (i % 250) as u8).collect();
    let served = bytes.clone();
    let server = Server::start(move |_, before| {
        let to = if before == 0 { 20_001 } else { served.len() };
        reply_claiming("200 OK", &[], &served[..to], served.len())
    });
    assert!(read(&server.address, &bytes).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up_by_name() {
    let bytes = vec![7; 1000];
    let server = Server::start(move |_, _| reply_claiming("200 OK", &[], b"", 1000));
    let error = read(&server.address, &bytes).await.unwrap_err();
    assert!(error.to_string().contains(digest(&bytes).as_str()), "{error}");
    assert!(server.count() < 10, "{} requests", server.count());
}

#[tokio::test]
async fn another_length_or_another_range_is_refused() {
    let bytes = vec![7; 1000];
    let server = Server::start(move |_, _| reply("200 OK", &[], &[7; 999]));
    assert_eq!(read(&server.address, &bytes).await.unwrap_err().kind(), Kind::DataLoss);
    let server = Server::start(move |head, _| {
        if asked_from(head) == 0 {
            return reply_claiming("200 OK", &[], &[7; 10], 1000);
        }
        reply("206 Partial Content", &[("content-range", "bytes 0-999/1000")], &[7; 1000])
    });
    assert_eq!(read(&server.address, &bytes).await.unwrap_err().kind(), Kind::DataLoss);
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let server = Server::start(|_, _| {
        let claimed = digest(b"something else").to_string();
        reply("200 OK", &[("content-type", MANIFEST), ("docker-content-digest", &claimed)], b"{}")
    });
    let here = repository(&server.address, "app");
    assert_eq!(here.manifest("v1").await.unwrap_err().kind(), Kind::DataLoss);
    assert_eq!(here.manifest(digest(b"x").as_str()).await.unwrap_err().kind(), Kind::DataLoss);
}

#[tokio::test]
async fn a_manifest_of_a_gigabyte_is_not_read() {
    let server = Server::start(|_, _| reply_claiming("200 OK", &[("content-type", MANIFEST)], b"{}", 1 << 30));
    let error = repository(&server.address, "app").manifest("v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    // And one that does not say how long it is.
    let server = Server::start(|_, _| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {MANIFEST}\r\n\r\n").into_bytes();
        answer.resize(4 << 20, b' ');
        answer
    });
    let error = repository(&server.address, "app").manifest("v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn redirects_that_loop_end() {
    let server = Server::start(|_, _| reply("307 Temporary Redirect", &[("location", "/v2/app/blobs/again")], b""));
    let error = read(&server.address, b"x").await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert!(server.count() <= 20, "{} requests", server.count());
}

#[tokio::test]
async fn credentials_and_headers_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = Server::start(|_, _| reply("200 OK", &[], b"x"));
    let target = format!("http://{}/storage?signature=secret", elsewhere.address);
    let server = Server::start(move |head, _| {
        if !head.to_ascii_lowercase().contains("authorization: basic") {
            return reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b"");
        }
        reply("307 Temporary Redirect", &[("location", &target)], b"")
    });
    let config = tempfile::tempdir().unwrap();
    let text = format!("server = \"http://{}\"\n[header]\nx-secret = \"s\"\n", server.address);
    let hosts = hosts_toml(config.path(), "r.example", &text);
    let credential = Credential::Basic { username: "u".into(), password: "p".into() };
    let credentials: Arc<dyn Credentials> = Arc::new(Fixed { host: server.address.clone(), credential });
    let here = repository_as("r.example", "app", &hosts, credentials);
    let mut body = here.blob(Blob::whole(digest(b"x"), 1)).await.unwrap();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "x");
    let head = elsewhere.heads.lock().unwrap().join("").to_ascii_lowercase();
    assert!(!head.contains("authorization") && !head.contains("x-secret"), "{head}");
    let home = server.heads.lock().unwrap().join("").to_ascii_lowercase();
    assert!(home.contains("x-secret: s"), "{home}");
}

#[tokio::test]
async fn too_many_requests_and_server_errors_pass() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "500 Internal Server Error"] {
        let server = Server::start(move |_, before| match before {
            0 | 1 => reply(status, &[("retry-after", "0")], b""),
            _ => reply("200 OK", &[], b"x"),
        });
        assert_eq!(read(&server.address, b"x").await.unwrap(), b"x", "{status}");
    }
    let server = Server::start(|_, _| reply("429 Too Many Requests", &[("retry-after", "0")], b"slow down"));
    let error = read(&server.address, b"x").await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("slow down"), "{error}");
}

#[tokio::test]
async fn a_mirror_is_told_which_registry_is_meant() {
    let whole = |_: &str, _: usize| reply("200 OK", &[("content-type", MANIFEST)], b"{}");
    let (mirror, registry) = (Server::start(whole), Server::start(whole));
    let config = tempfile::tempdir().unwrap();
    let mirrored = format!("[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", mirror.address);
    let hosts =
        hosts_toml(config.path(), "r.example:5000", &format!("server = \"http://{}\"\n{mirrored}", registry.address));
    let here = repository_as("r.example:5000", "app", &hosts, Arc::new(Anonymous));
    here.manifest("v1").await.unwrap();
    let asked = mirror.heads.lock().unwrap()[0].clone();
    assert!(asked.starts_with("GET /v2/app/manifests/v1?ns=r.example:5000 "), "{asked}");
    assert_eq!(registry.count(), 0);
    repository(&registry.address, "app").manifest("v1").await.unwrap();
    assert!(!registry.heads.lock().unwrap()[0].contains("ns="), "the registry itself knows who it is");
}

#[tokio::test]
async fn a_server_elsewhere_is_told_which_registry_is_meant_and_the_registry_is_not() {
    let server = Server::start(|_, _| reply("200 OK", &[("content-type", MANIFEST)], b"{}"));
    let config = tempfile::tempdir().unwrap();
    let hosts = hosts_toml(config.path(), "_default", &format!("server = \"http://{}\"", server.address));
    repository_as("quay.example", "app", &hosts, Arc::new(Anonymous)).manifest("v1").await.unwrap();
    let text = format!("[host.\"http://{}\"]", server.address);
    let hosts = hosts_toml(config.path(), &server.address, &text);
    repository_as(&server.address, "app", &hosts, Arc::new(Anonymous)).manifest("v1").await.unwrap();
    let asked = server.heads.lock().unwrap().clone();
    assert!(asked[0].starts_with("GET /v2/app/manifests/v1?ns=quay.example "), "{}", asked[0]);
    assert!(asked[1].starts_with("GET /v2/app/manifests/v1 "), "{}", asked[1]);
}

/// A repository of r.example, which is at `registry`, with a mirror.
fn mirrored(mirror: &str, registry: &str) -> distribution::Repository {
    let config = tempfile::tempdir().unwrap();
    let text = format!("server = \"http://{registry}\"\n[host.\"http://{mirror}\"]");
    let hosts = hosts_toml(config.path(), "r.example", &text);
    repository_as("r.example", "app", &hosts, Arc::new(Anonymous))
}

#[tokio::test]
async fn a_body_of_which_nothing_comes_is_asked_for_at_the_next_host() {
    let bytes = vec![7; 1000];
    let mirror = Server::start(|_, _| reply_claiming("200 OK", &[], b"", 1000));
    let served = bytes.clone();
    let registry = Server::start(move |_, _| reply("200 OK", &[], &served));
    let here = mirrored(&mirror.address, &registry.address);
    let blob = Blob::whole(digest(&bytes), 1000);
    assert!(all(here.blob(blob.clone()).await.unwrap()).await.unwrap() == bytes);
    assert_eq!((mirror.count(), registry.count()), (1, 1));
    // The same of a URL that the descriptor has.
    let urls = vec![format!("http://{}/layer", mirror.address)];
    let here = repository(&registry.address, "app");
    assert!(all(here.blob(Blob { urls, ..blob }).await.unwrap()).await.unwrap() == bytes);
    assert_eq!((mirror.count(), registry.count()), (2, 2));
}

#[tokio::test]
async fn a_signed_url_is_not_shown_with_its_signature() {
    let server = Server::start(|head, _| match head.contains("/signed") {
        true => reply("403 Forbidden", &[], b""),
        false => reply("404 Not Found", &[], b""),
    });
    for url in [format!("http://{}/signed?signature=secret", server.address), "not a url?signature=secret".into()] {
        let blob = Blob { urls: vec![url], ..Blob::whole(digest(b"x"), 1) };
        let error = repository(&server.address, "app").blob(blob).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_lacks_it_does_not_hide_what_the_registry_says() {
    let absent = Server::start(|_, _| reply("404 Not Found", &[], b""));
    for (status, kind) in [
        ("401 Unauthorized", Kind::Unauthenticated),
        ("403 Forbidden", Kind::PermissionDenied),
        ("429 Too Many Requests", Kind::Unavailable),
        ("503 Service Unavailable", Kind::Unavailable),
    ] {
        let registry = Server::start(move |_, _| reply(status, &[("retry-after", "0")], b""));
        let here = mirrored(&absent.address, &registry.address);
        assert_eq!(here.resolve("v1").await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(here.manifest("v1").await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(here.blob(Blob::whole(digest(b"x"), 1)).await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(here.blob_size(&digest(b"x"), None).await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(here.referrers(&digest(b"x")).await.unwrap_err().kind(), kind, "{status}");
    }
    // Nor does a mirror that is not there hide that the registry lacks it.
    let here = mirrored("127.0.0.1:1", &absent.address);
    assert_eq!(here.resolve("v1").await.unwrap_err().kind(), Kind::NotFound);
    // A mirror that refuses us is told of.
    let refusing = Server::start(|_, _| reply("403 Forbidden", &[], b""));
    let here = mirrored(&refusing.address, "127.0.0.1:1");
    assert_eq!(here.resolve("v1").await.unwrap_err().kind(), Kind::PermissionDenied);
}

#[tokio::test]
async fn tags_come_in_pages() {
    let server = Server::start(|head, _| {
        if head.contains("last=b") {
            return reply("200 OK", &[], b"{\"name\": \"app\", \"tags\": [\"c\"]}");
        }
        let next = "</v2/app/tags/list?n=2&last=b>; rel=\"next\"";
        reply("200 OK", &[("link", next)], b"{\"name\": \"app\", \"tags\": [\"a\", \"b\"]}")
    });
    assert_eq!(repository(&server.address, "app").tags().await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_list_is_bounded() {
    let server = Server::start(|_, before| {
        let next = format!("</v2/app/tags/list?n=1000&last={before}>; rel=\"next\"");
        let page = serde_json::json!({"tags": vec!["t".repeat(100); 1000]}).to_string();
        reply("200 OK", &[("link", &next)], page.as_bytes())
    });
    let error = repository(&server.address, "app").tags().await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    assert!(server.count() < 20, "{} pages", server.count());
}

#[tokio::test]
async fn referrers_come_in_pages() {
    let page = |names: [&str; 2]| {
        let manifests = names.map(|name| serde_json::json!({"digest": name}));
        serde_json::json!({"schemaVersion": 2, "mediaType": "index", "manifests": manifests}).to_string()
    };
    let server = Server::start(move |head, _| {
        let next = [("link", "</v2/app/referrers/sha256:x?last=b>; rel=\"next\"")];
        match head.contains("last=b") {
            true => reply("200 OK", &[], page(["c", "d"]).as_bytes()),
            false => reply("200 OK", &next, page(["a", "b"]).as_bytes()),
        }
    });
    let found = repository(&server.address, "app").referrers(&digest(b"subject")).await.unwrap().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let digests: Vec<_> = found["manifests"].as_array().unwrap().iter().map(|each| &each["digest"]).collect();
    assert_eq!(digests, ["a", "b", "c", "d"]);
    assert_eq!((&found["schemaVersion"], &found["mediaType"]), (&2.into(), &"index".into()));
}

#[tokio::test]
async fn referrers_are_none_only_where_the_registry_says_so() {
    let index = b"{\"schemaVersion\": 2, \"manifests\": []}";
    let server = |status: &'static str, tag: bool| {
        Server::start(move |head, _| match head.contains("/referrers/") {
            true => reply(status, &[("retry-after", "0")], b""),
            false if tag => reply("200 OK", &[], index),
            false => reply("404 Not Found", &[], b""),
        })
    };
    let subject = digest(b"subject");
    for (status, kind) in [
        ("404 Not Found", None),
        ("405 Method Not Allowed", None),
        ("403 Forbidden", Some(Kind::PermissionDenied)),
        ("503 Service Unavailable", Some(Kind::Unavailable)),
    ] {
        let (without, with) = (server(status, false), server(status, true));
        let found = repository(&without.address, "app").referrers(&subject).await;
        assert_eq!(found.as_ref().map_or_else(|error| Some(error.kind()), |_| None), kind, "{status}: {found:?}");
        assert_eq!(found.unwrap_or_default(), None);
        let found = repository(&with.address, "app").referrers(&subject).await.unwrap();
        assert_eq!(found.unwrap(), &index[..], "{status}");
    }
    // A mirror that is not there is passed over.
    let knowing = Server::start(|_, _| reply("200 OK", &[], index));
    let found = mirrored("127.0.0.1:1", &knowing.address).referrers(&subject).await.unwrap();
    assert_eq!(found.unwrap(), &index[..]);
}

#[tokio::test]
async fn the_tag_in_place_of_referrers_is_cut_and_asked_for_where_tags_are() {
    let subject = Digest::from_hash(Algorithm::Sha512, &[0xab; 64]).unwrap();
    let server = Server::start(|head, _| match head.contains(&format!("/manifests/sha512-{} ", "ab".repeat(32))) {
        true => reply("200 OK", &[], b"{}"),
        false => reply("404 Not Found", &[], b""),
    });
    let config = tempfile::tempdir().unwrap();
    let text = format!("server = \"http://{}\"\ncapabilities = [\"resolve\"]", server.address);
    let hosts = hosts_toml(config.path(), &server.address, &text);
    let here = repository_as(&server.address, "app", &hosts, Arc::new(Anonymous));
    assert_eq!(here.referrers(&subject).await.unwrap().unwrap(), &b"{}"[..]);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn referrers_are_listed_or_a_tag_stands_in() {
    let index = b"{\"schemaVersion\": 2, \"manifests\": []}";
    let subject = digest(b"subject");
    let tag = format!("manifests/{}", subject.to_string().replace(':', "-"));
    for has_referrers in [true, false] {
        let stand_in = tag.clone();
        let server = Server::start(move |head, _| {
            let asked_for = if has_referrers { "/v2/app/referrers/sha256:" } else { stand_in.as_str() };
            match head.contains(asked_for) {
                true => reply("200 OK", &[("content-type", "application/vnd.oci.image.index.v1+json")], index),
                false => reply("404 Not Found", &[], b""),
            }
        });
        let found = repository(&server.address, "app").referrers(&subject).await.unwrap();
        assert_eq!(found.unwrap(), &index[..], "{has_referrers}");
    }
}

#[tokio::test]
async fn a_stalled_registry_is_given_up() {
    let server = Server::start(|_, _| Vec::new());
    let here = impatient(&server.address, Duration::from_secs(3));
    let asked = tokio::time::timeout(Duration::from_secs(120), here.manifest("v1")).await.expect("it is given up");
    assert_eq!(asked.unwrap_err().kind(), Kind::DeadlineExceeded);
}

#[tokio::test]
async fn tokens_are_fetched_once_a_scope_and_again_when_they_are_refused() {
    let good = Arc::new(AtomicUsize::new(1));
    let (now, given) = (Arc::clone(&good), Arc::clone(&good));
    let tokens = Server::start(move |_, _| {
        let body = format!("{{\"token\":\"t{}\",\"expires_in\":300}}", given.load(Ordering::SeqCst));
        reply("200 OK", &[], body.as_bytes())
    });
    let challenge =
        format!("Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:app:pull\"", tokens.address);
    let server = Server::start(move |head, _| {
        if head.to_ascii_lowercase().contains(&format!("authorization: bearer t{}\r\n", now.load(Ordering::SeqCst))) {
            return reply("200 OK", &[("content-type", MANIFEST)], b"{}");
        }
        reply("401 Unauthorized", &[("www-authenticate", &challenge)], b"")
    });
    let here = repository(&server.address, "app");
    for _ in 0..3 {
        here.manifest("v1").await.unwrap();
    }
    assert_eq!(tokens.count(), 1);
    // The registry forgets the token before it expires.
    good.store(2, Ordering::SeqCst);
    here.manifest("v1").await.unwrap();
    assert_eq!(tokens.count(), 2);
    let asked = tokens.heads.lock().unwrap()[0].clone();
    assert!(asked.contains("service=s") && asked.contains("scope=repository%3Aapp%3Apull"), "{asked}");
}

#[tokio::test]
async fn a_secret_fetches_its_token_by_post_and_by_get_where_there_is_no_post() {
    for post_works in [true, false] {
        let tokens = Server::start(move |head, _| match (head.starts_with("POST"), post_works) {
            (true, true) => reply("200 OK", &[], b"{\"access_token\":\"t\"}"),
            (true, false) => reply("405 Method Not Allowed", &[], b""),
            (false, _) if head.to_ascii_lowercase().contains("authorization: basic") => {
                reply("200 OK", &[], b"{\"token\":\"t\"}")
            }
            (false, _) => reply("401 Unauthorized", &[], b""),
        });
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address);
        let server = Server::start(move |head, _| {
            if head.to_ascii_lowercase().contains("authorization: bearer t\r\n") {
                return reply("200 OK", &[("content-type", MANIFEST)], b"{}");
            }
            reply("401 Unauthorized", &[("www-authenticate", &challenge)], b"")
        });
        let credential = Credential::Basic { username: "u".into(), password: "p".into() };
        let credentials: Arc<dyn Credentials> = Arc::new(Fixed { host: server.address.clone(), credential });
        let here = repository_as(&server.address, "app", &Hosts::default(), credentials);
        here.manifest("v1").await.unwrap();
        assert_eq!(tokens.count(), if post_works { 1 } else { 2 });
    }
}

/// Whoever mounts a blob from another repository must be allowed to read that.
#[tokio::test]
async fn a_mount_asks_for_a_token_of_both_repositories() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\": \"t\"}"));
    let challenge =
        format!("Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:app:pull,push\"", tokens.address);
    let server = Server::start(move |head, _| {
        if !head.to_ascii_lowercase().contains("authorization: bearer t\r\n") {
            return reply("401 Unauthorized", &[("www-authenticate", &challenge)], b"");
        }
        if head.starts_with("HEAD") { reply("404 Not Found", &[], b"") } else { reply("201 Created", &[], b"") }
    });
    let here = repository(&server.address, "app");
    let mounted = here.upload(&digest(b"x"), Some("other/app")).await.unwrap();
    assert!(matches!(mounted, distribution::Mounted::Present));
    let asked = server.heads.lock().unwrap().join("");
    assert!(
        asked.contains("POST /v2/app/blobs/uploads/?mount=sha256:") && asked.contains("&from=other/app"),
        "{asked}"
    );
    let scopes = tokens.heads.lock().unwrap().concat().replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    assert!(scopes.contains("scope=repository:other/app:pull"), "{scopes}");
    assert!(scopes.contains("scope=repository:app:pull,push"), "{scopes}");
}

#[tokio::test]
async fn a_registry_that_challenges_for_ever_is_given_up() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.address);
    let server = Server::start(move |_, _| reply("401 Unauthorized", &[("www-authenticate", &challenge)], b"no entry"));
    let here = repository_as(&server.address, "app", &Hosts::default(), Arc::new(Anonymous));
    let error = here.manifest("v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    assert!(server.count() <= 4 && tokens.count() <= 3, "{} and {}", server.count(), tokens.count());
}
