//! What the program does besides running the daemon.

use crate::daemon::{Daemon, containerd, refusal, run};
use prost::Message as _;
use proto::{Any, api::containerd::services::events::v1::SubscribeRequest};
use std::fs;

#[test]
fn the_version_is_in_containerds_format() {
    for flag in ["--version", "-v", "-version"] {
        let output = run(containerd().arg(flag), b"");
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!((words.len(), words[0]), (4, "containerd"), "{text}");
        assert!(words[2].starts_with("2.") && words[3].starts_with("containerd-rs"), "{text}");
    }
}

#[test]
fn the_printed_configuration_is_one_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let output = run(containerd().args(["config", "default"]), b"");
    let default = String::from_utf8(output.stdout).unwrap();
    assert!(default.starts_with("version = 3\n") && default.contains("[grpc]"), "{default}");
    fs::write(&file, default.replace("'/var/lib/containerd'", "'/elsewhere'")).unwrap();
    let output = run(containerd().arg("-c").arg(&file).args(["config", "dump"]), b"");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let dumped = String::from_utf8(output.stdout).unwrap();
    assert_eq!(dumped, default.replace("'/var/lib/containerd'", "'/elsewhere'"));

    fs::write(&file, "[plugins.scheduler]\nmutation_threshold = 7\nshade = 1\n").unwrap();
    let output = run(containerd().arg("-c").arg(&file).args(["config", "migrate"]), b"");
    let migrated = String::from_utf8(output.stdout).unwrap();
    assert!(migrated.contains("mutation_threshold = 7") && migrated.contains("io.containerd.gc.v1.scheduler"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("config.toml:3: unknown key plugins.scheduler.shade"), "{said}");
}

#[tokio::test]
async fn publish_reaches_subscribers() {
    let daemon = Daemon::start();
    let mut events = daemon.client().await.events();
    let mut events = events.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let event = Any { type_url: "somebody.Elses".into(), value: vec![1, 2, 3] };
    let publish = |arguments: &[&str]| {
        let mut command = containerd();
        command.arg("--address").arg(daemon.socket()).arg("publish").args(arguments);
        command
    };
    let output = run(&mut publish(&["--topic", "/a/b", "--namespace", "space"]), &event.encode_to_vec());
    assert!(output.status.success(), "{output:?}");
    let heard = events.message().await.unwrap().unwrap();
    assert_eq!((heard.namespace.as_str(), heard.topic.as_str()), ("space", "/a/b"));
    assert_eq!(heard.event, Some(event));

    for (arguments, why) in [
        (&["--namespace", "space"][..], "topic required"),
        (&["--topic", "/a"], "namespace is required"),
        (&["--topic", "a", "--namespace", "space"], "must start with '/'"),
        (&["--topic", "/a", "--namespace", "a/b"], "namespace validation"),
    ] {
        let said = refusal(&mut publish(arguments));
        assert!(said.contains(why), "{why}: {said}");
    }
    let said = refusal(containerd().args(["-a", "/nowhere.sock", "publish", "--topic", "/a", "--namespace", "b"]));
    assert!(said.contains("/nowhere.sock"), "{said}");
}

#[test]
fn oci_hook_fills_in_the_containers_state() {
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), r#"{"root": {"path": "rootfs"}}"#).unwrap();
    let state = serde_json::json!({
        "ociVersion": "1.2.0", "id": "c1", "status": "created", "pid": 42,
        "bundle": bundle.path(), "annotations": {"color": "blue"},
    });
    let mut hook = containerd();
    hook.args(["oci-hook", "/bin/sh", "-c", "echo {{id}} {{pid}} {{status}} $PLACE -- \"$@\"", "sh"]);
    hook.args(["-address", "{{annotation \"color\"}}"]).env("PLACE", "{{rootfs}}");
    let output = run(&mut hook, state.to_string().as_bytes());
    let said = String::from_utf8(output.stdout).unwrap();
    let rootfs = bundle.path().join("rootfs");
    assert_eq!(said, format!("c1 42 created {} -- -address blue\n", rootfs.display()));

    let output = run(containerd().args(["oci-hook", "/bin/true"]), b"not json");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("container state"));
    let output = run(containerd().args(["oci-hook", "/bin/echo", "{{nope}}"]), state.to_string().as_bytes());
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nope"));
}
