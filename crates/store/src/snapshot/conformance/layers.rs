//! How snapshots stack, and how they come and go.

use super::{Bench, with};
use crate::snapshot::Capability;
use model::{Labels, SnapshotKind};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    thread,
};

pub(super) fn the_nearest_parent_wins(bench: &Bench<'_>) {
    let names = ["one", "two", "three", "four"];
    let mut parent = "";
    for name in names {
        bench.layer(name, parent, |root| {
            fs::write(root.join("top"), name).unwrap();
            fs::write(root.join(name), "").unwrap();
        });
        parent = name;
    }
    for (below, name) in names.iter().enumerate() {
        bench.look(name, |root| {
            assert_eq!(fs::read_to_string(root.join("top")).unwrap(), *name);
            let seen = names.iter().filter(|name| root.join(name).exists()).count();
            assert_eq!(seen, below + 1);
        });
    }
}

pub(super) fn a_hundred_and_twenty_eight(bench: &Bench<'_>) {
    let mut parent = String::new();
    for number in 0..128 {
        let name = format!("layer{number}");
        bench.layer(&name, &parent, |root| fs::write(root.join(&name), "").unwrap());
        parent = name;
    }
    let all = |root: &std::path::Path| (0..128).all(|number| root.join(format!("layer{number}")).exists());
    bench.look(&parent, |root| assert!(all(root)));
    with(&bench.prepare("writable", &parent), |root| {
        assert!(all(root));
        fs::remove_file(root.join("layer0")).unwrap();
        fs::write(root.join("new"), "").unwrap();
    });
}

pub(super) fn a_parent_given_at_commit(bench: &Bench<'_>) {
    if !bench.can(Capability::Rebase) {
        return;
    }
    bench.layer("base", "", |root| {
        fs::write(root.join("base"), "").unwrap();
        fs::write(root.join("both"), "base").unwrap();
    });
    bench.layer("middle", "base", |root| fs::write(root.join("middle"), "").unwrap());
    with(&bench.prepare("alone", ""), |root| {
        assert!(!root.join("base").exists());
        fs::write(root.join("both"), "rebased").unwrap();
    });
    bench.commit("alone", "rebased", Some("middle"));
    bench.look("rebased", |root| {
        assert!(root.join("base").exists() && root.join("middle").exists());
        assert_eq!(fs::read_to_string(root.join("both")).unwrap(), "rebased");
    });
    bench.layer("above", "rebased", |root| fs::remove_file(root.join("both")).unwrap());
    bench.look("above", |root| assert!(!root.join("both").exists() && root.join("base").exists()));
}

pub(super) fn usage_counts_the_snapshot_alone(bench: &Bench<'_>) {
    let measure = |name: &str| bench.driver.usage(&bench.record(name).snapshot()).unwrap();
    let mounts = bench.prepare("active", "");
    let empty = measure("active");
    with(&mounts, |root| {
        fs::write(root.join("file"), vec![1; 1 << 20]).unwrap();
        // Blocks are given when written back, not when written.
        fs::File::open(root.join("file")).unwrap().sync_all().unwrap();
        fs::hard_link(root.join("file"), root.join("link")).unwrap();
    });
    let full = measure("active");
    assert_eq!(full.inodes, empty.inodes + 1);
    assert!(full.size - empty.size >= 1 << 20, "{empty:?} {full:?}");
    bench.commit("active", "base", None);
    let committed = measure("base");
    assert_eq!(committed.inodes, full.inodes);
    assert!(committed.size >= 1 << 20);
}

pub(super) fn the_root_keeps_its_parents_owner(bench: &Bench<'_>) {
    bench.layer("base", "", |root| chown(root, Some(12), Some(34)).unwrap());
    with(&bench.prepare("child", "base"), |root| {
        let stat = fs::metadata(root).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (12, 34));
    });
}

pub(super) fn owners_are_shifted(bench: &Bench<'_>) {
    if !bench.can(Capability::RemapIds) {
        return;
    }
    let map = |kind: &str, text: &str| (format!("containerd.io/snapshot/{kind}"), text.to_owned());
    let labels = Labels::from([map("uidmapping", "0:100000:65536"), map("gidmapping", "0:200000:65536")]);
    bench.layer("base", "", |root| {
        fs::write(root.join("root"), "").unwrap();
        fs::write(root.join("user"), "").unwrap();
        chown(root.join("user"), Some(1000), Some(1000)).unwrap();
    });
    let mounts = bench.create(SnapshotKind::Active, "shifted", "base", labels.clone()).unwrap();
    with(&mounts, |root| {
        let owner = |name: &str| fs::metadata(root.join(name)).map(|stat| (stat.uid(), stat.gid())).unwrap();
        assert_eq!(owner("."), (100_000, 200_000));
        assert_eq!(owner("root"), (100_000, 200_000));
        assert_eq!(owner("user"), (101_000, 201_000));
    });
    let bad = Labels::from([map("uidmapping", "1:100000:65536"), map("gidmapping", "0:200000:65536")]);
    let error = bench.create(SnapshotKind::Active, "bad", "base", bad).unwrap_err();
    assert_eq!(error.kind(), model::Kind::InvalidArgument, "{error}");
    bench.look("base", |root| assert_eq!(fs::metadata(root.join("root")).unwrap().uid(), 0));
}

pub(super) fn cleanup_spares_what_is_live(bench: &Bench<'_>) {
    bench.layer("base", "", |root| fs::write(root.join("file"), "").unwrap());
    let mounts = bench.prepare("active", "base");
    with(&mounts, |root| fs::write(root.join("more"), "").unwrap());
    bench.layer("gone", "base", |root| fs::write(root.join("file"), "gone").unwrap());
    // As if the store had lost it: nobody calls remove.
    bench.records.lock().unwrap().remove("gone");
    bench.cleanup();
    with(&mounts, |root| assert!(root.join("file").exists() && root.join("more").exists()));
    bench.look("base", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), ""));
}

pub(super) fn many_at_once(bench: &Bench<'_>) {
    bench.layer("base", "", |root| fs::write(root.join("base"), "").unwrap());
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for turn in 0..4 {
                    let name = format!("{worker}-{turn}");
                    bench.layer(&name, "base", |root| fs::write(root.join(&name), "").unwrap());
                    bench.look(&name, |root| assert!(root.join("base").exists() && root.join(&name).exists()));
                    if turn % 2 == 0 {
                        bench.remove(&name);
                    }
                }
            });
        }
    });
    for worker in 0..8 {
        bench.look(&format!("{worker}-3"), |root| assert!(root.join(format!("{worker}-3")).exists()));
    }
}
