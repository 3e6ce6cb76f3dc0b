//! What requests do between marking and sweeping, step by step.

use super::{Dirty, mark::Marking, sweep};
use crate::{NoEvents, Store, StoreConfig, WriterOptions, content::Hasher};
use model::{Algorithm, Descriptor, Digest, FieldMask, Image, Kind, Labels, Namespace, Resource, Scope, Timestamp};
use std::sync::Arc;

struct Fixture {
    store: Store,
    scope: Scope,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { gc: None, ..StoreConfig::new(dir.path()) };
        let store = Store::open(config, Arc::new(NoEvents)).unwrap();
        Self { store, scope: Scope::new(Namespace::new("n").unwrap()), _dir: dir }
    }

    fn leased(&self) -> Scope {
        Scope { lease: Some("l".into()), ..self.scope.clone() }
    }

    fn blob(&self, text: &str, labels: &[(&str, &str)]) -> Digest {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let options = WriterOptions { reference: text.into(), ..WriterOptions::default() };
        let mut writer = self.store.open_writer(&self.scope, &options).unwrap();
        writer.write(text.as_bytes()).unwrap();
        writer.commit(0, None, labels).unwrap()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.store.blob_info(&self.scope, digest).is_ok()
    }

    /// Collects records, with `requests` coming in once everything is marked.
    fn collect(&self, requests: impl FnOnce()) -> usize {
        let db = &self.store.core.db;
        sweep::raise_barrier(db).unwrap();
        let marking = Marking::of(&db.read().unwrap()).unwrap();
        requests();
        let removed = sweep::sweep(db, marking, &mut Dirty::default()).unwrap();
        sweep::lower_barrier(db).unwrap();
        removed
    }
}

fn digest(text: &str) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    hasher.digest().unwrap()
}

fn image(target: &Digest) -> Image {
    Image {
        name: "i".into(),
        labels: Labels::new(),
        target: Descriptor { media_type: "m".into(), digest: target.clone(), size: 1, annotations: Labels::new() },
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    }
}

#[test]
fn garbage_that_a_request_refers_to_meanwhile_is_kept_with_all_below_it() {
    type Request = fn(&Fixture, &Digest);
    let requests: [(&str, Request); 6] = [
        ("an image", |fixture, root| drop(fixture.store.create_image(&fixture.scope, image(root), None).unwrap())),
        ("a lease's resource", |fixture, root| {
            fixture.store.add_lease_resource(&fixture.scope, "l", &Resource::Content(root.to_string())).unwrap();
        }),
        ("a writer that finds it there", |fixture, root| {
            let options =
                WriterOptions { reference: "r".into(), expected: Some(root.clone()), ..WriterOptions::default() };
            let error = fixture.store.open_writer(&fixture.leased(), &options).unwrap_err();
            assert_eq!(error.kind(), Kind::AlreadyExists);
        }),
        ("a label of its own", |fixture, root| {
            let labels = [("containerd.io/gc.root".into(), "x".into())].into();
            let mask = FieldMask(vec!["labels.containerd.io/gc.root".into()]);
            fixture.store.update_blob(&fixture.scope, root, labels, &mask).unwrap();
        }),
        ("a label of another", |fixture, root| {
            let labels = [("containerd.io/gc.ref.content.x".into(), root.to_string())].into();
            let mask = FieldMask(vec!["labels.containerd.io/gc.ref.content.x".into()]);
            fixture.store.update_blob(&fixture.scope, &digest("kept"), labels, &mask).unwrap();
        }),
        ("a new blob", |fixture, root| {
            fixture.blob("new", &[("containerd.io/gc.ref.content", root.as_str())]);
        }),
    ];
    for (what, request) in requests {
        let fixture = Fixture::new();
        fixture.store.create_lease(&fixture.scope, "l", Labels::new()).unwrap();
        fixture.blob("kept", &[("containerd.io/gc.root", "x")]);
        let leaf = fixture.blob("leaf", &[]);
        let root = fixture.blob("root", &[("containerd.io/gc.ref.content", leaf.as_str())]);
        let other = fixture.blob("other", &[]);
        fixture.collect(|| request(&fixture, &root));
        assert!(fixture.has(&root) && fixture.has(&leaf), "{what} did not keep it");
        assert!(!fixture.has(&other), "{what} kept too much");
    }
}

#[test]
fn what_is_made_meanwhile_is_kept_and_what_is_deleted_meanwhile_is_no_trouble() {
    let fixture = Fixture::new();
    let garbage = fixture.blob("garbage", &[]);
    let gone = fixture.blob("gone", &[]);
    let mut made = None;
    let removed = fixture.collect(|| {
        fixture.store.delete_blob(&fixture.scope, &gone).unwrap();
        made = Some(fixture.blob("made", &[]));
        // Deleted and made again: it is new.
        fixture.store.delete_blob(&fixture.scope, &garbage).unwrap();
        fixture.blob("garbage", &[]);
    });
    assert_eq!(removed, 0);
    assert!(fixture.has(&made.clone().unwrap()) && fixture.has(&garbage));
    assert_eq!(fixture.collect(|| {}), 2, "one round later it is garbage");
}

#[test]
fn referrers_are_deleted_before_what_they_refer_to() {
    let fixture = Fixture::new();
    let mut below = fixture.blob("0", &[]);
    let mut chain = vec![below.to_string()];
    for at in 1..20 {
        below = fixture.blob(&at.to_string(), &[("containerd.io/gc.ref.content", below.as_str())]);
        chain.push(below.to_string());
    }
    let marking = Marking::of(&fixture.store.core.db.read().unwrap()).unwrap();
    let order: Vec<String> = marking.candidates.iter().map(|node| node.key.clone()).collect();
    chain.reverse();
    assert_eq!(order, chain);
}
