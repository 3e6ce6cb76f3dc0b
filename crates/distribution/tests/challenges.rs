//! Token servers and challenges as they are found in the wild.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;

use bytes::Bytes;
use distribution::{Anonymous, Credential, Credentials, DockerConfig, Fixed, Hosts, Mounted, Repository};
use model::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, sync::Arc};
use support::{Server, hosts_toml, reply, repository, repository_as};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// A challenge that names the token server at `tokens`.
fn bearer(tokens: &str, more: &str) -> Vec<u8> {
    let challenge = format!("Bearer realm=\"http://{tokens}/token\",service=\"s\"{more}");
    reply("401 Unauthorized", &[("www-authenticate", &challenge)], b"")
}

fn has(head: &str, token: &str) -> bool {
    head.to_ascii_lowercase().contains(&format!("authorization: bearer {token}\r\n"))
}

/// A registry that lets in whoever has token `t` of the server at `tokens`.
fn guarded(tokens: &str) -> Server {
    let tokens = tokens.to_owned();
    Server::start(move |head, _| match has(head, "t") {
        true => reply("200 OK", &[("content-type", MANIFEST)], b"{}"),
        false => bearer(&tokens, ""),
    })
}

/// The repository of a user of `server`.
fn known(server: &Server) -> Repository {
    let credential = Credential::Basic { username: "u".into(), password: "p".into() };
    let credentials: Arc<dyn Credentials> = Arc::new(Fixed { host: server.address.clone(), credential });
    repository_as(&server.address, "app", &Hosts::default(), credentials)
}

#[tokio::test]
async fn a_token_may_live_for_ever_or_not_say_how_long() {
    for answer in [
        "{\"token\":\"t\",\"expires_in\":9223372036854775807}",
        "{\"token\":\"t\",\"expires_in\":18446744073709551615}",
        "{\"token\":\"t\",\"expires_in\":-1}",
        "{\"token\":\"t\",\"expires_in\":null}",
        "{\"token\":\"t\",\"access_token\":null}",
        "{\"token\":null,\"access_token\":\"t\",\"expires_in\":0}",
    ] {
        let tokens = Server::start(move |_, _| reply("200 OK", &[], answer.as_bytes()));
        let server = guarded(&tokens.address);
        let here = repository(&server.address, "app");
        for _ in 0..2 {
            here.manifest("v1").await.unwrap_or_else(|error| panic!("{answer}: {error}"));
        }
        assert_eq!(tokens.count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_token_server_that_has_moved_is_followed() {
    let tokens = Server::start(|head, _| match head.contains("/token") {
        true => reply("301 Moved Permanently", &[("location", "/moved")], b""),
        false if head.starts_with("POST /moved") => reply("201 Created", &[], b"{\"access_token\":\"t\"}"),
        false => reply("404 Not Found", &[], b""),
    });
    known(&guarded(&tokens.address)).manifest("v1").await.unwrap();
    assert_eq!(tokens.count(), 2, "{}", tokens.heard());
}

#[tokio::test]
async fn a_password_does_not_follow_a_token_server_to_another_host() {
    let other = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
    let location = format!("http://{}/token", other.address);
    let tokens = Server::start(move |_, _| reply("307 Temporary Redirect", &[("location", &location)], b""));
    known(&guarded(&tokens.address)).manifest("v1").await.unwrap();
    let heard = other.heard();
    assert!(heard.starts_with("get /token") && other.count() == 1, "{heard}");
    assert!(!heard.contains("authorization"), "{heard}");
    assert!(tokens.heard().contains("authorization: basic"), "the first was told");
}

/// Two requests with a token that is good for neither: the registry wants a password from both.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_twice_at_once_is_no_refused_password() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
    let (realm, both) = (tokens.address.clone(), std::sync::Barrier::new(2));
    let server = Server::start(move |head, _| {
        let is_first = head.contains("/first ");
        if head.to_ascii_lowercase().contains("authorization: basic") || (is_first && has(head, "t")) {
            return reply("200 OK", &[("content-type", MANIFEST)], b"{}");
        }
        if is_first {
            return bearer(&realm, "");
        }
        both.wait();
        reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b"")
    });
    let here = known(&server);
    here.manifest("first").await.unwrap();
    let (one, two) = tokio::join!(here.manifest("one"), here.manifest("two"));
    one.unwrap();
    two.unwrap();
}

/// As registry.k8s.io does, whose blobs are at registries that give everybody a token.
#[tokio::test]
async fn a_registry_that_we_are_sent_to_gets_a_token_for_nobody() {
    let tokens = Server::start(|head, _| {
        let asked = head.replace("%3A", ":").replace("%2F", "/");
        match asked.contains("scope=repository:there/app:pull") {
            true => reply("200 OK", &[], b"{\"token\":\"t\"}"),
            false => reply("403 Forbidden", &[], b""),
        }
    });
    let realm = tokens.address.clone();
    let other = Server::start(move |head, _| match has(head, "t") {
        true => reply("200 OK", &[("content-type", MANIFEST)], b"{}"),
        false => bearer(&realm, ",scope=\"repository:there/app:pull\""),
    });
    let location = format!("http://{}/v2/there/app/manifests/v1", other.address);
    let server = Server::start(move |head, _| match head.to_ascii_lowercase().contains("authorization: basic") {
        true => reply("307 Temporary Redirect", &[("location", &location)], b""),
        false => reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b""),
    });
    let here = known(&server);
    for _ in 0..2 {
        here.manifest("v1").await.unwrap();
    }
    assert_eq!((tokens.count(), other.count()), (1, 3), "the token is used again");
    let heard = tokens.heard() + &other.heard();
    assert!(!heard.contains("authorization: basic") && heard.contains("get /token"), "{heard}");
}

#[tokio::test]
async fn what_may_not_be_mounted_is_uploaded() {
    // It gives a token to anybody, with fewer scopes than were asked for.
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
    let realm = tokens.address.clone();
    let server = Server::start(move |head, _| match head.split(' ').next() {
        _ if !has(head, "t") => bearer(&realm, ",scope=\"repository:app:pull\""),
        Some("HEAD") => reply("404 Not Found", &[], b""),
        _ if head.contains("mount=") => bearer(&realm, ",scope=\"repository:other:pull\",error=\"insufficient_scope\""),
        _ => reply("202 Accepted", &[("location", "/v2/app/blobs/uploads/1")], b""),
    });
    let here = repository(&server.address, "app");
    assert!(matches!(here.upload(&digest(b"x"), Some("other")).await.unwrap(), Mounted::Upload(_)));
    // A password that does not reach as far does the same.
    let server = Server::start(|head, _| match head.split(' ').next() {
        _ if head.contains("mount=") || !head.to_ascii_lowercase().contains("authorization: basic") => {
            reply("401 Unauthorized", &[("www-authenticate", "Basic realm=\"r\"")], b"")
        }
        Some("HEAD") => reply("404 Not Found", &[], b""),
        _ => reply("202 Accepted", &[("location", "/v2/app/blobs/uploads/1")], b""),
    });
    let here = known(&server);
    assert!(matches!(here.upload(&digest(b"x"), Some("other")).await.unwrap(), Mounted::Upload(_)));
}

#[tokio::test]
async fn who_may_write_but_not_read_can_push() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
    let realm = tokens.address.clone();
    let server = Server::start(move |head, _| match head.split(' ').next() {
        Some("HEAD") => bearer(&realm, ",scope=\"repository:app:pull\",error=\"insufficient_scope\""),
        _ if !has(head, "t") => bearer(&realm, ",scope=\"repository:app:push\""),
        Some("POST") => reply("202 Accepted", &[("location", "/v2/app/blobs/uploads/1")], b""),
        _ => reply("201 Created", &[], b""),
    });
    let here = repository(&server.address, "app");
    assert!(matches!(here.upload(&digest(b"x"), None).await.unwrap(), Mounted::Upload(_)));
    assert!(!here.has_manifest("v1", &digest(b"{}")).await.unwrap());
    here.put_manifest("v1", MANIFEST, Bytes::from_static(b"{}")).await.unwrap();
}

/// Below a path, the registry's name of the repository is another than ours: only its challenges tell the scope.
#[tokio::test]
async fn a_token_that_says_too_little_is_fetched_anew_for_what_the_challenge_names() {
    let tokens = Server::start(|head, _| {
        let asked = head.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        match asked.contains("scope=repository:proj/app:pull,push") {
            true => reply("200 OK", &[], b"{\"token\":\"w\"}"),
            false => reply("200 OK", &[], b"{\"token\":\"r\"}"),
        }
    });
    let realm = tokens.address.clone();
    let server = Server::start(move |head, _| match head.split(' ').next() {
        Some("HEAD") if has(head, "r") || has(head, "w") => reply("404 Not Found", &[], b""),
        Some("HEAD") => bearer(&realm, ",scope=\"repository:proj/app:pull\""),
        _ if has(head, "w") => reply("202 Accepted", &[("location", "/v2/proj/app/blobs/uploads/1")], b""),
        _ => bearer(&realm, ",scope=\"repository:proj/app:pull,push\",error=\"insufficient_scope\""),
    });
    let config = tempfile::tempdir().unwrap();
    let text = format!("server = \"http://{}/v2/proj\"\noverride_path = true\n", server.address);
    let hosts = hosts_toml(config.path(), "r.example", &text);
    let here = repository_as("r.example", "app", &hosts, Arc::new(Anonymous));
    assert!(matches!(here.upload(&digest(b"x"), None).await.unwrap(), Mounted::Upload(_)));
}

/// What is sent to the realm of tokens at `realm`, and at last to the registry, when x-secret and authorization are
/// configured.
async fn configured(server: &Server, credential: Option<Credential>) {
    let config = tempfile::tempdir().unwrap();
    let text = format!("server = \"http://{}\"\n[header]\nx-secret = \"s\"\nauthorization = \"a\"\n", server.address);
    let hosts = hosts_toml(config.path(), "r.example", &text);
    let credentials: Arc<dyn Credentials> = match credential {
        Some(credential) => Arc::new(Fixed { host: server.address.clone(), credential }),
        None => Arc::new(Anonymous),
    };
    repository_as("r.example", "app", &hosts, credentials).manifest("v1").await.unwrap();
    let last = server.heads.lock().unwrap().last().unwrap().to_ascii_lowercase();
    assert_eq!(last.matches("authorization: ").count(), 1, "one of the two: {last}");
}

#[tokio::test]
async fn configured_headers_go_to_a_token_server_of_the_same_host_alone() {
    let basic = Credential::Basic { username: "u".into(), password: "p".into() };
    for credential in [None, Some(basic)] {
        let other = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"t\"}"));
        configured(&guarded(&other.address), credential.clone()).await;
        let heard = other.heard();
        assert!(other.count() == 1 && !heard.contains("x-secret") && !heard.contains("authorization: a\r"), "{heard}");
        // The registry gives its tokens itself, where it is not asked by POST.
        let server = Server::start(|head, _| match head.contains(" /token") {
            true if head.starts_with("POST") => reply("404 Not Found", &[], b""),
            true => reply("200 OK", &[], b"{\"token\":\"t\"}"),
            false if has(head, "t") => reply("200 OK", &[("content-type", MANIFEST)], b"{}"),
            false => bearer(host_of(head), ""),
        });
        configured(&server, credential.clone()).await;
        let heads = server.heads.lock().unwrap().clone();
        let asked: Vec<_> =
            heads.iter().filter(|head| head.contains(" /token")).map(|head| head.to_ascii_lowercase()).collect();
        assert_eq!(asked.len(), if credential.is_some() { 2 } else { 1 });
        for head in asked {
            assert!(head.contains("x-secret: s\r\n"), "{head}");
            assert_eq!(head.matches("authorization: ").count(), 1, "{head}");
        }
    }
}

/// The address that a request was sent to.
fn host_of(head: &str) -> &str {
    let host = head.lines().find_map(|line| line.strip_prefix("host: ").or_else(|| line.strip_prefix("Host: ")));
    host.expect("HTTP/1.1 has a host")
}

#[tokio::test]
async fn a_credential_that_needs_no_token_is_shown_to_the_registry_as_it_is() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"token\":\"other\"}"));
    let config = tempfile::tempdir().unwrap();
    let path = config.path().join("config.json");
    for expected in ["Own way=1", "Bearer t"] {
        let realm = tokens.address.clone();
        let server = Server::start(move |head, _| match head.contains(&format!("uthorization: {expected}\r\n")) {
            true => reply("200 OK", &[("content-type", MANIFEST)], b"{}"),
            false => bearer(&realm, ""),
        });
        let credentials: Arc<dyn Credentials> = match expected {
            "Bearer t" => {
                let auths = serde_json::json!({"auths": {&server.address: {"registrytoken": "t"}}});
                std::fs::write(&path, auths.to_string()).unwrap();
                Arc::new(DockerConfig::open(&path).unwrap())
            }
            whole => Arc::new(Fixed { host: server.address.clone(), credential: Credential::Header(whole.to_owned()) }),
        };
        let here = repository_as(&server.address, "app", &Hosts::default(), credentials);
        here.manifest("v1").await.unwrap();
        assert!(!server.heads.lock().unwrap()[0].contains("uthorization"), "not before it is asked for");
        assert_eq!((server.count(), tokens.count()), (2, 0), "{expected}");
    }
}

#[tokio::test]
async fn an_identity_token_of_dockers_configuration_fetches_tokens_by_post() {
    let tokens = Server::start(|_, _| reply("200 OK", &[], b"{\"access_token\":\"t\"}"));
    let server = guarded(&tokens.address);
    let config = tempfile::tempdir().unwrap();
    let path = config.path().join("config.json");
    let auths = serde_json::json!({"auths": {&server.address: {"auth": "PHRva2VuPjo=", "identitytoken": "i=1"}}});
    std::fs::write(&path, auths.to_string()).unwrap();
    let credentials: Arc<dyn Credentials> = Arc::new(DockerConfig::open(&path).unwrap());
    repository_as(&server.address, "app", &Hosts::default(), credentials).manifest("v1").await.unwrap();
    let asked = tokens.heads.lock().unwrap().concat();
    let (head, form) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token ") && !head.to_ascii_lowercase().contains("authorization"), "{head}");
    let form: HashMap<_, _> = form.split('&').filter_map(|field| field.split_once('=')).collect();
    let expected = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "i%3D1"),
        ("service", "s"),
        ("client_id", "containerd-client"),
        ("scope", "repository%3Aapp%3Apull"),
    ];
    assert_eq!(form, HashMap::from(expected));
    assert!(!server.heard().contains("i=1"), "the registry is not told");
}

#[tokio::test]
async fn a_realm_that_takes_no_identity_token_by_post_is_asked_by_get() {
    for refusal in ["401 Unauthorized", "404 Not Found"] {
        let tokens = Server::start(move |head, _| match head.contains("uthorization: Basic Omk9MQ==\r\n") {
            true if head.starts_with("GET /token?") => reply("200 OK", &[], b"{\"token\":\"t\"}"),
            _ => reply(refusal, &[], b""),
        });
        let server = guarded(&tokens.address);
        let credential = Credential::Identity("i=1".into());
        let credentials = Arc::new(Fixed { host: server.address.clone(), credential });
        repository_as(&server.address, "app", &Hosts::default(), credentials).manifest("v1").await.unwrap();
        assert_eq!(tokens.count(), 2, "{refusal}");
    }
}
