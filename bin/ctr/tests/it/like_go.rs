//! Beside Go's ctr, on one daemon: the same tables, documents and specs.

use crate::{daemon, has_go};
use serde_json::{Value, json};
use tests::image::{busybox, busybox_archive, descriptor, media, oci_archive};
use tests::{Ctr, Daemon, Impl};

const IMAGE: &str = "example.com/test/busybox:1";

/// Runs a test with both clients, or says that it does not.
#[allow(clippy::print_stderr, reason = "the test's own words")]
fn with_both(test: impl FnOnce(&Daemon, &Ctr, &Ctr)) {
    if !has_go() {
        eprintln!("not compared: Go's containerd is not there (CONTAINERD_PEERS, or scripts/peers.sh target/peers)");
        return;
    }
    let daemon = daemon();
    let (ours, go) = (daemon.ctr(Impl::Ours), daemon.ctr(Impl::Go));
    ours.ok(&format!("images import {}", busybox_archive().display()));
    test(&daemon, &ours, &go);
    daemon.finish();
}

#[test]
fn tables_are_the_same_to_the_letter() {
    with_both(|_, ours, go| {
        ours.ok(&format!("containers create --label z=y --label a=b --runc-root /tmp/r {IMAGE} made true"));
        ours.ok(&format!("run -d {IMAGE} running sleep 1000"));
        ours.ok("leases create --id held -x 0 k=v");
        ours.ok("namespaces label default a=b");
        for line in [
            "containers ls",
            "containers ls -q",
            "containers ls image==nothing",
            "tasks ls",
            "tasks ps running",
            "images ls",
            "images ls -q",
            "images check",
            "images check -q",
            &format!("images usage {IMAGE}"),
            &format!("images inspect {IMAGE}"),
            "content ls",
            "content active",
            "snapshots ls",
            "snapshots tree",
            "snapshots usage",
            "snapshots usage -b",
            "snapshots mounts /mnt running",
            "leases ls",
            "namespaces ls",
            "plugins ls",
            "plugins ls -q type==io.containerd.snapshotter.v1",
            "containers info made",
            "containers info running",
            "snapshots info made",
            "plugins inspect-runtime",
            "info",
            "oci spec",
        ] {
            let (ours, go) = (ours.ok(line), go.ok(line));
            if line == "content ls" {
                assert_eq!(without_age(&ours), without_age(&go));
            } else {
                assert_eq!(ours, go, "`ctr {line}`");
            }
        }
        ours.ok("tasks kill -s KILL running");
        tests::eventually("the task to stop", || ours.ok("tasks ls").contains("STOPPED"));
        ours.ok("containers rm running made");
        ours.ok("leases rm held");
        ours.ok(&format!("images rm --sync {IMAGE}"));
    });
}

/// Exit codes, and where help goes.
#[test]
fn command_lines_end_as_gos() {
    with_both(|_, ours, go| {
        for line in [
            "",
            "images",
            "snapshots --snapshotter native",
            "content prune",
            "-h",
            "help",
            "images help ls",
            "-v",
            "--version",
            "bogus",
            "images bogus",
            "images bogus x",
            "content prune x",
            "help bogus",
            "--bogus",
            "images ls --bogus",
            "-n",
            "-n other -n default images ls -q",
            "-n other images ls -q",
            "--debug=false --debug=true --debug=false images ls -q",
            "images ls -q -q=false",
            "images rm",
            "content rm",
            "snapshots rm",
            "namespaces rm",
            "tasks rm",
            "containers rm",
            "images rm absent",
            "content get -x",
            "content active -t 1ns",
            "content active -t 1m",
            "images unmount --rm --refresh -abc /nowhere/at/all",
            "images push --manifest-type x/y --local example.com/absent:1",
        ] {
            let (ours, go) = (ours.run(line), go.run(line));
            assert_eq!(ours.code, go.code, "`ctr {line}`: {ours:?} {go:?}");
            if go.code == 0 {
                assert_eq!(ours.stdout.is_empty(), go.stdout.is_empty(), "`ctr {line}`: {ours:?} {go:?}");
            }
        }
        let third = |ctr: &Ctr| ctr.ok("--version").split_whitespace().nth(2).map(str::to_owned);
        assert!(third(ours).is_some() && third(go).is_some());
        ours.ok(&format!("images rm --sync {IMAGE}"));
    });
}

/// Down to the documents, of an index. Go's labels come in no order.
#[test]
fn inspected_documents_are_the_same() {
    with_both(|daemon, ours, go| {
        let blobs = busybox(IMAGE).blobs();
        let mut entry = descriptor(media::MANIFEST, &blobs.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
        let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [entry], "annotations": {} });
        let index = index.to_string().into_bytes();
        let mut named = descriptor(media::INDEX, &index);
        named["annotations"] = json!({ "io.containerd.image.name": "example.com/index:1" });
        let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest, &index]).map(Vec::as_slice);
        let file = daemon.dir().join("index.tar");
        std::fs::write(&file, oci_archive(&[named], all)).unwrap();
        ours.ok(&format!("images import --local --all-platforms --no-unpack {}", file.display()));
        let lines = |ctr: &Ctr| {
            let text = ctr.ok("images inspect --content example.com/index:1");
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(ours), lines(go));
        ours.ok(&format!("images rm --sync {IMAGE} example.com/index:1"));
    });
}

/// The cells of a table but the third, which grows from one call to the next.
fn without_age(table: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    for line in table.lines() {
        let mut cells: Vec<&str> = line.split('\t').filter(|cell| !cell.is_empty()).collect();
        cells.remove(2);
        rows.push(cells);
    }
    rows
}

#[test]
fn specs_are_the_same() {
    with_both(|_, ours, go| {
        for flags in [
            "",
            "--privileged",
            "--user www",
            "--user 33:0",
            "--net-host --env A=B --env FROM --label x=y --annotation q=r --hostname h --read-only -t",
            "--mount type=bind,src=/tmp,dst=/host,options=rbind:ro --cwd /tmp --memory-limit 1000000",
            "--cap-add CAP_SYS_ADMIN --cap-drop CAP_KILL --with-ns ipc:/proc/1/ns/ipc --allow-new-privs",
            "--device /dev/null --rootfs-propagation shared --cpu-quota 5000 --cpu-period 10000",
        ] {
            let spec = |ctr: &Ctr, id: &str| {
                ctr.ok(&format!("containers create {flags} {IMAGE} {id} sh -c 'echo x'"));
                let spec = ctr.ok(&format!("containers info --spec {id}")).replace(id, "ID");
                ctr.ok(&format!("containers rm {id}"));
                serde_json::from_str::<Value>(&spec).unwrap()
            };
            assert_eq!(spec(ours, "compared-a"), spec(go, "compared-b"), "{flags}");
        }
        ours.ok(&format!("images rm --sync {IMAGE}"));
    });
}

#[test]
fn archives_go_both_ways() {
    with_both(|daemon, ours, go| {
        let file = |name: &str| daemon.dir().join(name).display().to_string();
        ours.ok(&format!("images export --local {} {IMAGE}", file("ours.tar")));
        go.ok(&format!("images export --local {} {IMAGE}", file("go.tar")));
        let listing = |name: &str| {
            let tar = std::fs::File::open(file(name)).unwrap();
            let mut tar = tar::Archive::new(tar);
            let entries = tar.entries().unwrap().map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path_bytes().into_owned(), entry.size(), header.mode().unwrap(), header.entry_type())
            });
            entries.collect::<Vec<_>>()
        };
        assert_eq!(listing("ours.tar"), listing("go.tar"));
        for (name, ctr) in [("ours.tar", go), ("go.tar", ours)] {
            ours.ok(&format!("images rm --sync {IMAGE}"));
            ctr.ok(&format!("images import --local {}", file(name)));
            assert_eq!(ours.names("images ls"), [IMAGE]);
            assert_eq!(ours.ok(&format!("run --rm {IMAGE} check cat /etc/motd")), "last\n");
        }
        ours.ok(&format!("images rm --sync {IMAGE}"));
    });
}
