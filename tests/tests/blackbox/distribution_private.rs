//! Registries behind a private authority, client certificates, passwords and tokens: Go's ctr and ours, by the
//! Transfer service and by themselves, and skopeo exchange images through them, every digest equal.

use std::fs;

use tests::bed::BUSYBOX;
use tests::image::{self, Image};
use tests::layer::Layer;
use tests::registry::{Known, Tls, USER, passwords};
use tests::tokens::REFRESH;
use tests::{Bed, Impl, Registry, Tokens, matrix};

matrix! { storage: private_authority, client_certificates_and_passwords, certificates_on_the_command_line, tokens }

/// Pushes and pulls with `flags`, and pulls what skopeo has brought; all of it by the daemon and by ctr itself.
fn exchange(bed: &Bed, registry: &Registry, flags: &str) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let layer = Layer::new().file("by", 0o644, b"skopeo").finish();
    let other =
        Image { name: "example.com/by/skopeo:1".to_owned(), layers: vec![layer], config: serde_json::json!({}) };
    let (ours, theirs) = (image::busybox(BUSYBOX).blobs().manifest, other.blobs().manifest);
    let (ours, theirs) = (image::digest(&ours), image::digest(&theirs));
    let archive = bed.daemon.dir().join("other.tar");
    fs::write(&archive, other.oci_archive()).unwrap();
    registry.receive(&format!("oci-archive:{}", archive.display()), "by/skopeo:1");
    for (at, local) in ["", "--local"].into_iter().enumerate() {
        let rest = format!("team/app{at}:1");
        let (pushed, received) = (registry.name(&rest), registry.name("by/skopeo:1"));
        ctr.ok(&format!("images push {local} {flags} {pushed} {image}"));
        assert_eq!(registry.inspect(&rest)["Digest"], *ours);
        let other = ctr.in_namespace(&format!("pulled-{at}"));
        for (name, digest) in [(&pushed, &ours), (&received, &theirs)] {
            other.ok(&format!("images pull {local} {flags} {name}"));
            assert_eq!(other.target(name), *digest);
        }
        let check = other.ok("images check");
        assert_eq!(check.matches(" complete (").count(), 2, "{check}");
        assert!(other.names("leases ls").is_empty());
    }
}

/// What must not get in, by the daemon and by ctr itself.
fn is_kept_out(bed: &Bed, registry: &Registry, flags: &str) {
    for local in ["", "--local"] {
        let error = bed.ctr().fails(&format!("images pull {local} {flags} {}", registry.name("by/skopeo:1")));
        assert!(!error.contains(USER.1), "{error}");
    }
}

fn private_authority(bed: &mut Bed) {
    let registry = Registry::start(Tls::Private, "");
    exchange(bed, &registry, &format!("--hosts-dir {}", registry.hosts_dir(Known::Authority).display()));
    if bed.row.ctr == Impl::Ours {
        let flags = format!("--local --http-trace --hosts-dir {}", registry.hosts_dir(Known::Authority).display());
        let told = bed.ctr().run(&format!("images pull {flags} {}", registry.name("by/skopeo:1")));
        assert!(told.code == 0 && told.stderr.contains("HTTP/2.0"), "with TLS it is spoken: {told:?}");
    }
    // Of its own accord containerd believes whoever answers on loopback; not where a file says how it is reached.
    is_kept_out(bed, &registry, &format!("--hosts-dir {}", registry.hosts_dir(Known::Address).display()));
}

fn client_certificates_and_passwords(bed: &mut Bed) {
    let registry = Registry::start(Tls::Mutual, &passwords());
    let (known, unknown) = (registry.hosts_dir(Known::Certificate), registry.hosts_dir(Known::Authority));
    let user = format!("--user {}:{}", USER.0, USER.1);
    exchange(bed, &registry, &format!("--hosts-dir {} {user}", known.display()));
    is_kept_out(bed, &registry, &format!("--hosts-dir {} {user}", unknown.display()));
    is_kept_out(bed, &registry, &format!("--hosts-dir {}", known.display()));
}

/// What ctr is told of TLS holds for hosts whose files say nothing of it. Go's ctr wants --local beside such flags; to ours
/// they say as much.
fn certificates_on_the_command_line(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let (private, mutual) = (Registry::start(Tls::Private, ""), Registry::start(Tls::Mutual, ""));
    let certs = mutual.certificates().display().to_string();
    let authority = |registry: &Registry| format!("--tlscacert {}/ca.crt", registry.certificates().display());
    let client = format!("--tlscert {certs}/client.cert --tlskey {certs}/client.key");
    let ways = if bed.row.ctr == Impl::Ours { &["", "--local"][..] } else { &["--local"] };
    for local in ways {
        for (registry, flags, enters) in [
            (&private, "-k".to_owned(), true),
            (&private, "--skip-verify".to_owned(), true),
            (&private, authority(&private), true),
            (&private, authority(&mutual), false),
            (&mutual, format!("{} {client}", authority(&mutual)), true),
            (&mutual, format!("-k {client}"), true),
            (&mutual, "-k".to_owned(), false),
        ] {
            let hosts = registry.hosts_dir(Known::Address).display().to_string();
            let flags = format!("{local} --hosts-dir {hosts} {flags}");
            let remote = registry.name("app:1");
            for line in [format!("images push {flags} {remote} {image}"), format!("images pull {flags} {remote}")] {
                let out = ctr.run(&line);
                assert_eq!(out.code == 0, enters, "{line}: {out:?}");
            }
        }
    }
    assert_eq!(ctr.target(&mutual.name("app:1")), image::digest(&image::busybox(BUSYBOX).blobs().manifest));
}

fn tokens(bed: &mut Bed) {
    let tokens = Tokens::start();
    let registry = Registry::start(Tls::Private, &tokens.section());
    let hosts = format!("--hosts-dir {}", registry.hosts_dir(Known::Authority).display());
    exchange(bed, &registry, &format!("{hosts} --user {}:{}", USER.0, USER.1));
    for local in ["", "--local"] {
        let ctr = bed.ctr().in_namespace("refreshed");
        ctr.ok(&format!("images pull {local} {hosts} --refresh {REFRESH} {}", registry.name("by/skopeo:1")));
        ctr.ok(&format!("images rm --sync {}", registry.name("by/skopeo:1")));
    }
    let asked = tokens.asked();
    assert!(
        asked.contains(&"POST password".to_owned()) && asked.contains(&"POST refresh_token".to_owned()),
        "{asked:?}"
    );
    is_kept_out(bed, &registry, &hosts);
    is_kept_out(bed, &registry, &format!("{hosts} --user {}:wrong", USER.0));
}
