//! Image verifiers: whom they refuse has no record, whichever way it came.

use std::fs;

use tests::bed::BUSYBOX;
use tests::{Daemon, Impl, Registry, image};

/// A daemon with one verifier, which keeps what it is asked in `asked` and refuses images whose names have `bad`.
fn daemon(which: Impl) -> (Daemon, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {0}/asked\ncat >> {0}/asked\n\
         case \"$2\" in *bad*) echo \"not this one\"; exit 1;; esac\n",
        dir.path().display()
    );
    fs::write(dir.path().join("script"), script).unwrap();
    tests::install(&dir.path().join("script"), &bin.join("judge"));
    let settings = format!(
        "[debug]\nlevel = \"debug\"\n[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n\
         [plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"{}\"\nmax_verifiers = 10\n\
         per_verifier_timeout = \"60s\"\n",
        bin.display()
    );
    (Daemon::configured(which, which, &settings), dir)
}

#[test]
fn a_refused_pull_leaves_no_record() {
    for which in [Impl::Go, Impl::Ours] {
        let ((daemon, judge), registry) = (daemon(which), Registry::open());
        let ctr = daemon.ctr(Impl::Go);
        ctr.ok(&format!("images import --local {}", image::busybox_archive().display()));
        for name in ["good:1", "bad:1"] {
            ctr.ok(&format!("images push --plain-http {} {BUSYBOX}", registry.name(name)));
        }
        let other = ctr.in_namespace("verified");
        other.ok(&format!("images pull --plain-http {}", registry.name("good:1")));
        let error = other.fails(&format!("images pull --plain-http {}", registry.name("bad:1")));
        assert!(error.contains("not this one") && error.contains("blocked pull"), "{error}");
        assert_eq!(other.names("images ls"), [registry.name("good:1")]);
        let asked = fs::read_to_string(judge.path().join("asked")).unwrap();
        let digest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
        assert!(asked.contains(&format!("-name {} -digest {digest}", registry.name("bad:1"))), "{asked}");
        daemon.finish();
    }
}

/// containerd asks nobody about what is imported; we do.
#[test]
fn a_refused_import_leaves_no_record() {
    let (daemon, judge) = daemon(Impl::Ours);
    let archive = daemon.dir().join("in.tar");
    for which in [Impl::Go, Impl::Ours] {
        let ctr = daemon.ctr(which);
        fs::write(&archive, image::busybox("example.com/test/bad:1").oci_archive()).unwrap();
        let error = ctr.fails(&format!("images import {}", archive.display()));
        assert!(error.contains("not this one") && error.contains("example.com/test/bad:1"), "{error}");
        assert!(ctr.names("images ls").is_empty() && ctr.names("snapshots ls").is_empty());
        // A name that the client gives is asked about as well.
        fs::write(&archive, image::busybox(BUSYBOX).oci_archive()).unwrap();
        let error = ctr.fails(&format!("images import --index-name example.com/bad-index:1 {}", archive.display()));
        assert!(error.contains("example.com/bad-index:1"), "{error}");
        assert!(ctr.names("images ls").is_empty() && ctr.names("leases ls").is_empty());
        ctr.ok(&format!("images import {}", archive.display()));
        assert_eq!(ctr.names("images ls"), [BUSYBOX]);
        ctr.ok(&format!("images rm --sync {BUSYBOX}"));
    }
    let asked = fs::read_to_string(judge.path().join("asked")).unwrap();
    let digest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
    assert!(asked.contains(&format!("-name {BUSYBOX} -digest {digest}")), "{asked}");
    assert!(asked.contains(image::media::MANIFEST) && !asked.contains("ref-source"), "{asked}");
    daemon.finish();
}
