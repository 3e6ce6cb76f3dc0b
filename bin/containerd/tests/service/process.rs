//! Start, stop, signals, and what keeps two daemons apart.

use crate::daemon::{Daemon, await_file, containerd, refusal};
use proto::api::containerd::services::content::v1::{WriteAction, WriteContentRequest};
use rustix::process::Signal;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};
use tokio_stream::wrappers::ReceiverStream;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_and_sockets_have_containerds_modes() {
    let daemon = Daemon::start();
    for (name, expected) in [("root", 0o700), ("state", 0o711), ("c.sock", 0o660), ("c.sock.ttrpc", 0o660)] {
        assert_eq!(mode(&daemon.path(name)), expected, "{name}");
    }
}

#[test]
fn a_second_daemon_on_the_same_root_or_socket_is_told_so_and_harms_nothing() {
    let daemon = Daemon::start();
    let same_root = refusal(daemon.command().arg("--address").arg(daemon.path("other.sock")));
    assert!(same_root.contains("root") && same_root.contains("is in use"), "{same_root}");
    let (root, state) = (daemon.path("root2"), daemon.path("state2"));
    let same_socket = refusal(daemon.command().arg("--root").arg(&root).arg("--state").arg(&state));
    assert!(same_socket.contains("c.sock is in use"), "{same_socket}");
    assert!(std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok());
    assert!(std::os::unix::net::UnixStream::connect(daemon.path("c.sock.ttrpc")).is_ok());
}

#[test]
fn killed_daemons_leave_nothing_in_the_way_and_stopped_ones_nothing_at_all() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::KILL);
    assert!(!daemon.ended().success());
    assert!(daemon.socket().exists());
    daemon.restart();
    for signal in [Signal::TERM, Signal::INT] {
        daemon.signal(signal);
        assert!(daemon.ended().success(), "{}", daemon.log());
        assert!(!daemon.socket().exists() && !daemon.path("c.sock.ttrpc").exists());
        daemon.restart();
    }
}

#[tokio::test]
async fn a_request_under_way_ends_before_the_daemon_does() {
    let mut daemon = Daemon::start();
    let mut content = daemon.client().await.content();
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let write = |action: WriteAction, offset, data: &'static [u8]| WriteContentRequest {
        action: action.into(),
        r#ref: "slow".into(),
        offset,
        data: data.into(),
        ..Default::default()
    };
    requests.send(write(WriteAction::Write, 0, b"half")).await.unwrap();
    let mut replies = content.write(ReceiverStream::new(stream)).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap().unwrap().offset, 4);
    // Somebody who waits for ever does not keep it from ending.
    let mut events = daemon
        .client()
        .await
        .events()
        .subscribe(proto::api::containerd::services::events::v1::SubscribeRequest::default())
        .await
        .unwrap()
        .into_inner();

    daemon.signal(Signal::TERM);
    while std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    requests.send(write(WriteAction::Commit, 4, b"+half")).await.unwrap();
    let committed = replies.message().await.unwrap().unwrap();
    assert_eq!(committed.offset, 9);
    assert!(daemon.ended().success(), "{}", daemon.log());
    // It hears of the blob, and then of the end.
    let heard = events.message().await;
    assert!(heard.is_err() || heard.unwrap().is_some_and(|event| event.topic == "/content/create"));

    daemon.restart();
    let info = proto::api::containerd::services::content::v1::InfoRequest { digest: committed.digest };
    assert_eq!(daemon.client().await.content().info(info).await.unwrap().into_inner().info.unwrap().size, 9);
}

#[test]
fn sigusr1_dumps_what_is_going_on() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::USR1);
    let pid = await_file(&daemon.path("log"));
    assert!(pid.contains("starting"));
    let dump = loop {
        let found = fs::read_dir(daemon.path("")).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            path.to_string_lossy().ends_with(".stacks.log").then_some(path)
        });
        if let Some(path) = found {
            break await_file(&path);
        }
        crate::daemon::pause();
    };
    assert!(dump.contains("async tasks:") && dump.contains("thread "), "{dump}");
    daemon.signal(Signal::TERM);
    assert!(daemon.ended().success());
    assert!(daemon.log().contains("=== BEGIN thread dump ==="));
}

#[test]
fn configurations_that_cannot_work_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    let long = format!("/{}", "x".repeat(107));
    for (config, why) in [
        ("root = 1".to_owned(), "bad.toml:1: root: expected string"),
        (format!("[grpc]\naddress = '{long}'"), "108 bytes, the kernel's limit is 107"),
        ("version = 9".to_owned(), "got `9`"),
        (
            "version = 2\nrequired_plugins = ['io.containerd.grpc.v1.cri']".to_owned(),
            "io.containerd.grpc.v1.cri not included",
        ),
        ("[debug]\nformat = 'xml'".to_owned(), "unknown log format: xml"),
        ("[debug]\nlevel = 'loud'".to_owned(), "not a valid log level"),
    ] {
        fs::write(&file, config).unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut command = containerd();
        command.arg("-c").arg(&file).arg("--state").arg(at("state"));
        if !why.contains("root") {
            command.arg("--root").arg(at("root"));
        }
        if !why.contains("kernel") {
            command.arg("-address").arg(at("c.sock"));
        }
        let said = refusal(&mut command);
        assert!(said.contains(why), "{why}: {said}");
    }
    let said = refusal(containerd().arg("-c").arg(folder.path().join("missing.toml")));
    assert!(said.contains("missing.toml"), "{said}");
}

#[test]
fn unknown_keys_are_logged_and_the_daemon_starts() {
    let daemon = Daemon::configured("colour = 'blue'");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("unknown key")).unwrap();
    assert!(line.contains("level=warning") && line.contains("row=4") && line.contains("key=colour"), "{line}");
}
