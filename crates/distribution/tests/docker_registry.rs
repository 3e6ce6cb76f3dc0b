//! Against Debian's docker-registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod support;

use bytes::Bytes;
use distribution::{Blob, Credential, Fixed, Hosts, Mounted, Repository};
use model::{Algorithm, Digest, Kind};
use sha2::{Digest as _, Sha256};
use std::{fs, sync::Arc};
use support::{Registry, certificates, certificates_by, hosts_toml, repository, repository_as, shell};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

async fn push_blob(repository: &Repository, bytes: &[u8]) -> Digest {
    let digest = digest(bytes);
    if let Mounted::Upload(mut upload) = repository.upload(&digest, None).await.unwrap() {
        upload.whole(bytes.len() as u64, tokio_stream::once(Ok(Bytes::copy_from_slice(bytes)))).await.unwrap();
    }
    digest
}

async fn push_image(repository: &Repository, tag: &str, layer: &[u8]) -> Digest {
    let config = b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
    let (config_digest, layer_digest) = (push_blob(repository, config).await, push_blob(repository, layer).await);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest.as_str(), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest.as_str(), "size": layer.len()}],
    });
    repository.put_manifest(tag, MANIFEST, manifest.to_string().into()).await.unwrap()
}

async fn read(repository: &Repository, blob: Blob) -> Vec<u8> {
    let mut body = repository.blob(blob).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

#[tokio::test]
async fn an_image_goes_and_comes_back() {
    let registry = Registry::start("", "");
    let here = repository(&registry.address, "team/app");
    let layer: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let pushed = push_image(&here, "v1", &layer).await;

    let resolved = here.resolve("v1").await.unwrap();
    assert_eq!((resolved.digest.clone(), resolved.media_type.as_str()), (pushed.clone(), MANIFEST));
    let document = here.manifest("v1").await.unwrap();
    assert_eq!(document.resolved, resolved);
    assert_eq!(document.bytes.len() as u64, resolved.size);
    assert_eq!(here.manifest(pushed.as_str()).await.unwrap(), document);

    let blob = Blob::whole(digest(&layer), layer.len() as u64);
    assert!(read(&here, blob.clone()).await == layer);
    assert!(read(&here, Blob { offset: 1_000_000, ..blob.clone() }).await == layer[1_000_000..]);
    assert!(read(&here, Blob { offset: 10, end: 20, ..blob.clone() }).await == layer[10..20]);
    assert!(here.has_blob(&blob.digest).await.unwrap() && here.has_manifest("v1", &pushed).await.unwrap());
    assert!(matches!(here.upload(&blob.digest, None).await.unwrap(), Mounted::Present));

    // Mounted from one repository into another, and not otherwise.
    let there = repository(&registry.address, "team/other");
    assert!(!there.has_blob(&blob.digest).await.unwrap());
    assert!(matches!(there.upload(&blob.digest, Some("team/app")).await.unwrap(), Mounted::Present));

    push_image(&here, "v2", b"small").await;
    assert_eq!(here.tags().await.unwrap(), ["v1", "v2"]);
    assert_eq!(here.referrers(&pushed).await.unwrap(), None);
    here.delete(pushed.as_str()).await.unwrap();
    assert_eq!(here.resolve("v1").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(here.resolve("v3").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn an_upload_in_chunks_goes_on_from_what_the_registry_has() {
    let registry = Registry::start("", "");
    let here = repository(&registry.address, "chunks");
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 253) as u8).collect();
    let digest = digest(&bytes);
    let Mounted::Upload(mut upload) = here.upload(&digest, None).await.unwrap() else { panic!("it is new") };
    upload.chunk(Bytes::copy_from_slice(&bytes[..40_000])).await.unwrap();
    assert_eq!(upload.status().await.unwrap(), 40_000);
    upload.chunk(Bytes::copy_from_slice(&bytes[40_000..])).await.unwrap();
    upload.commit().await.unwrap();
    assert!(read(&here, Blob::whole(digest, bytes.len() as u64)).await == bytes);
}

#[tokio::test]
async fn a_password_is_shown_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    // bcrypt of "secret", as htpasswd -B writes it.
    let line = "me:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
    fs::write(dir.path().join("htpasswd"), line).unwrap();
    let path = dir.path().join("htpasswd").display().to_string();
    let registry = Registry::start_in(dir, "", &format!("auth:\n  htpasswd: {{realm: tests, path: {path}}}"));
    let fixed = |password: &str| {
        let credential = Credential::Basic { username: "me".into(), password: password.into() };
        Arc::new(Fixed { host: registry.address.clone(), credential })
    };
    let here = repository_as(&registry.address, "app", &Hosts::default(), fixed("U*U"));
    push_image(&here, "v1", b"layer").await;
    for credentials in [fixed("wrong"), Arc::new(Fixed { host: "elsewhere".into(), ..(*fixed("U*U")).clone() })] {
        let refused = repository_as(&registry.address, "app", &Hosts::default(), credentials);
        assert_eq!(refused.resolve("v1").await.unwrap_err().kind(), Kind::Unauthenticated);
    }
}

/// What `openssl req -x509` makes is an authority, which browsers take for no server; Go's programs do.
#[tokio::test]
async fn tls_with_a_certificate_that_is_its_own_authority() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        for name in right other; do
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout $name.key -out $name.pem \
                -addext subjectAltName=IP:127.0.0.1
        done
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout name.key -out name.pem \
            -addext subjectAltName=DNS:r.example"#;
    shell(dir.path(), script, "");
    let at = dir.path().display().to_string();
    let config = tempfile::tempdir().unwrap();
    for (shown, trusted, expected) in [
        ("right", "right", Kind::NotFound),
        ("right", "other", Kind::Unauthenticated),
        ("name", "name", Kind::Unauthenticated),
    ] {
        let tls = format!("  tls: {{certificate: {at}/{shown}.pem, key: {at}/{shown}.key}}");
        let registry = Registry::start(&tls, "");
        let text = format!("server = \"https://{}\"\nca = \"{at}/{trusted}.pem\"", registry.address);
        let hosts = hosts_toml(config.path(), &registry.address, &text);
        let here = repository_as(&registry.address, "app", &hosts, Arc::new(distribution::Anonymous));
        let error = here.resolve("v1").await.unwrap_err();
        assert_eq!(error.kind(), expected, "{shown} by {trusted}: {error}");
    }
}

#[tokio::test]
async fn tls_with_a_private_authority_and_a_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = dir.path().display().to_string();
    let registry = Registry::start_in(
        dir,
        &format!("  tls: {{certificate: {at}/server.pem, key: {at}/server.key, clientcas: [{at}/ca.pem]}}"),
        "",
    );
    let (address, config) = (registry.address.clone(), tempfile::tempdir().unwrap());
    let server = format!("server = \"https://{address}\"\n");
    let trusted = format!("{server}ca = \"{at}/ca.pem\"\n");
    let known = format!("{trusted}client = [[\"{at}/client.pem\", \"{at}/client.key\"]]\n");
    // Whose certificate is not believed is not asked again; that ours is missing looks like a connection that broke.
    for (text, refused) in [(&known, None), (&trusted, Some(Kind::Unavailable)), (&server, Some(Kind::Unauthenticated))]
    {
        let hosts = hosts_toml(config.path(), &address, text);
        let here = repository_as(&address, "app", &hosts, Arc::new(distribution::Anonymous));
        if refused.is_none() {
            push_image(&here, "v1", b"layer").await;
        }
        assert_eq!(here.resolve("v1").await.err().map(|error| error.kind()), refused, "{text}");
    }
    // Docker's layout of the same files.
    let folder = config.path().join("docker").join(&address);
    fs::create_dir_all(&folder).unwrap();
    for (from, to) in [("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")] {
        fs::copy(format!("{at}/{from}"), folder.join(to)).unwrap();
    }
    let hosts = Hosts { dirs: vec![config.path().join("docker")], ..Hosts::default() };
    let here = repository_as(&address, "app", &hosts, Arc::new(distribution::Anonymous));
    assert!(here.resolve("v1").await.is_ok());
}

#[tokio::test]
async fn of_several_certificates_the_one_is_shown_whose_authority_the_registry_knows() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    for authority in ["one", "two"] {
        fs::create_dir(dir.path().join(authority)).unwrap();
        certificates_by(&dir.path().join(authority), authority);
    }
    let tls = format!("certificate: {at}/one/server.pem, key: {at}/one/server.key, clientcas: [{at}/two/ca.pem]");
    let registry = Registry::start_in(dir, &format!("  tls: {{{tls}}}"), "");
    let config = tempfile::tempdir().unwrap();
    for (names, works) in
        [(["one", "two"].as_slice(), true), (&["two", "one"], true), (&["one"], false), (&["one", "one"], false)]
    {
        let pairs: Vec<_> =
            names.iter().map(|name| format!("[\"{at}/{name}/client.pem\", \"{at}/{name}/client.key\"]")).collect();
        let text = format!("ca = \"{at}/one/ca.pem\"\nclient = [{}]", pairs.join(", "));
        let text = format!("server = \"https://{}\"\n{text}", registry.address);
        let hosts = hosts_toml(config.path(), "r.example", &text);
        let here = repository_as("r.example", "app", &hosts, Arc::new(distribution::Anonymous));
        let asked = here.resolve("v1").await.unwrap_err();
        assert_eq!(asked.kind() == Kind::NotFound, works, "{names:?}: {asked}");
    }
    // A key of another certificate is noticed before anybody is asked.
    let text = format!("client = [[\"{at}/one/server.pem\", \"{at}/two/server.key\"]]");
    let hosts = hosts_toml(config.path(), "r.example", &text);
    let credentials: Arc<dyn distribution::Credentials> = Arc::new(distribution::Anonymous);
    let refused = Repository::open("r.example", "app", &hosts, &credentials, support::limits()).unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidArgument);
    assert!(refused.to_string().contains("one/server.pem"), "{refused}");
}

#[tokio::test]
async fn a_mirror_goes_first_and_the_registry_when_it_fails() {
    let (mirror, registry) = (Registry::start("", ""), Registry::start("", ""));
    let config = tempfile::tempdir().unwrap();
    push_image(&repository(&registry.address, "app"), "both", b"upstream").await;
    push_image(&repository(&registry.address, "app"), "upstream", b"upstream").await;
    let mirrored = push_image(&repository(&mirror.address, "app"), "both", b"mirrored").await;
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://127.0.0.1:1\"]\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]",
        registry.address, mirror.address
    );
    let hosts = hosts_toml(config.path(), "r.example", &text);
    let here = repository_as("r.example", "app", &hosts, Arc::new(distribution::Anonymous));
    assert_eq!(here.resolve("both").await.unwrap().digest, mirrored);
    assert_eq!(here.manifest("upstream").await.unwrap().resolved.media_type, MANIFEST);
    let only_upstream = Blob::whole(digest(b"upstream"), 8);
    assert_eq!(read(&here, only_upstream).await, b"upstream");
}
