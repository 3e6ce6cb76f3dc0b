//! Configurations that a daemon must not start with, and what it says of them.

use std::fs;
use std::process::Command;

use tests::Impl;

/// Starts a daemon with a configuration, which must fail, and answers what it printed.
fn refused(which: Impl, config: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = config.replace("DIR", &dir.path().display().to_string());
    fs::write(dir.path().join("config.toml"), config).unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["-k", "5", &tests::PATIENCE.as_secs().to_string()])
        .arg(which.containerd())
        .arg("--config")
        .arg(dir.path().join("config.toml"));
    let out = command.output().unwrap();
    let printed = [out.stdout, out.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(!matches!(out.status.code(), Some(0 | 124 | 137)), "it started: {printed}");
    printed
}

const DIRS: &str = "version = 3\nroot = 'DIR/root'\nstate = 'DIR/state'\n";

#[test]
fn wrong_type() {
    for which in [Impl::Go, Impl::Ours] {
        let printed = refused(which, &format!("{DIRS}oom_score = 'high'\n[grpc]\naddress = 'DIR/c.sock'\n"));
        assert!(printed.contains("config.toml") || printed.contains("oom_score"), "{which:?}: {printed}");
    }
}

#[test]
fn not_toml() {
    for which in [Impl::Go, Impl::Ours] {
        let printed = refused(which, &format!("{DIRS}[grpc\naddress = 'DIR/c.sock'\n"));
        assert!(printed.contains("toml"), "{which:?}: {printed}");
    }
}

#[test]
fn version_of_the_future() {
    for which in [Impl::Go, Impl::Ours] {
        let printed = refused(which, "version = 99\nroot = 'DIR/root'\nstate = 'DIR/state'\n");
        assert!(printed.contains("99"), "{which:?}: {printed}");
    }
}

#[test]
fn socket_path_too_long() {
    for which in [Impl::Go, Impl::Ours] {
        let name = "s".repeat(108);
        let printed = refused(which, &format!("{DIRS}[grpc]\naddress = 'DIR/{name}'\n"));
        assert!(printed.contains(&name), "{which:?}: {printed}");
    }
}

/// Go containerd would take other layers than those of images; ours says that it does not.
#[test]
fn unpacking_of_what_is_no_image() {
    let entry = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux'\n\
        snapshotter = 'native'\n";
    for more in ["config_type = 'application/vnd.example.model'", "layer_types = ['application/vnd.example.weights']"] {
        let printed = refused(Impl::Ours, &format!("{DIRS}[grpc]\naddress = 'DIR/c.sock'\n{entry}{more}\n"));
        assert!(printed.contains("unpack_config") && printed.contains("config_type and layer_types"), "{printed}");
    }
    let printed = refused(Impl::Ours, &format!("{DIRS}[grpc]\naddress = 'DIR/c.sock'\n{entry}differ = 'nonesuch'\n"));
    assert!(printed.contains("nonesuch"), "{printed}");
}
