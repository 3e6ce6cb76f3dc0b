//! Errors say what to try, and the command line is complete.

use crate::with_ctr;
use tests::{Ctr, Impl};

#[test]
fn without_a_daemon_the_error_names_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let ctr = |socket: &str| Ctr::new(Impl::Ours, &dir.path().join(socket), "default");
    let error = ctr("absent.sock").fails("images ls");
    assert!(error.contains("absent.sock") && error.contains("is containerd running"), "{error}");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("dead.sock")).unwrap());
    let error = ctr("dead.sock").fails("version");
    assert!(error.contains("nobody listens"), "{error}");
    let error = ctr(&"x".repeat(120)).fails("version");
    assert!(error.contains("a unix socket's path has at most"), "{error}");
}

#[test]
fn what_is_missing_comes_with_advice() {
    with_ctr(|_, ctr| {
        let error = ctr.fails("run --rm no/such/image:1 a true");
        assert!(error.contains("no/such/image:1") && error.contains("ctr images import"), "{error}");
        let error = ctr.fails("tasks exec --exec-id e nobody true");
        assert!(error.contains("nobody"), "{error}");
        let error = ctr.fails("images pull alpine");
        assert!(error.contains("did you mean docker.io/library/alpine:latest?"), "{error}");
        let error = ctr.fails("images pull 127.0.0.1:1/nobody/listens:1");
        assert!(error.contains("127.0.0.1:1/nobody/listens:1"), "{error}");
        assert!(ctr.names("leases ls").is_empty());
    });
}

#[test]
fn what_this_ctr_lacks_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ctr = Ctr::new(Impl::Ours, dir.path(), "default");
    for line in ["sandboxes ls", "sb run a b", "install --path /opt example.com/x:1", "pprof -d /sock heap"] {
        let error = ctr.fails(line);
        assert!(error.contains(&format!("ctr {}", line.replace("sb ", "sandboxes "))), "{error}");
        assert!(error.contains("is not supported"), "{error}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let ctr = Ctr::new(Impl::Ours, dir.path(), "default");
    for shell in ["bash", "zsh", "fish"] {
        let script = ctr.ok(&format!("completion {shell}"));
        assert!(script.contains("snapshots") && script.contains("max-concurrent-downloads"), "{shell}");
    }
    ctr.ok(&format!("man {}", dir.path().display()));
    for page in ["ctr.1", "ctr-run.1", "ctr-images-import.1", "ctr-images-pull.1", "ctr-hosts-check.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
}

#[test]
fn a_deadline_ends_a_command() {
    with_ctr(|daemon, _| {
        let ctr = daemon.ctr(Impl::Ours);
        // Events never end by themselves.
        let mut command = std::process::Command::new(Impl::Ours.ctr());
        command.arg("-a").arg(daemon.socket()).args(["--timeout", "300ms", "events"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--timeout"));
        ctr.ok("version");
    });
}
