//! Namespaces, images, containers, sandboxes and leases: rules, masks, messages and events.

use crate::support::*;
use model::{Any, FieldMask, Filter, Kind, Labels, NamespaceInfo, Resource, Sandbox, Timestamp};

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask(paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn a_namespace_comes_with_its_first_object_and_goes_when_it_is_empty() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    assert_eq!(store.get_namespace("none").unwrap().labels, Labels::new());
    assert_eq!(store.delete_namespace("none").unwrap_err().kind(), Kind::NotFound);

    store.create_container(&scope("made"), container("c")).unwrap();
    assert_eq!(store.list_namespaces().unwrap().len(), 1);
    let info = NamespaceInfo { name: "made".into(), labels: Labels::new() };
    assert_eq!(store.create_namespace(info).unwrap_err().kind(), Kind::AlreadyExists);

    let target = put_blob(store, &scope("made"), b"manifest", &[]);
    store.create_image(&scope("made"), image("i", &target), None).unwrap();
    store.prepare_snapshot(&scope("made"), "test", "s", "", Labels::new()).unwrap();
    let error = store.delete_namespace("made").unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert_eq!(
        error.to_string(),
        "namespace \"made\" must be empty, but it still has images, blobs, containers, snapshots on \"test\" snapshotter"
    );

    store.delete_container(&scope("made"), "c").unwrap();
    store.delete_image(&scope("made"), "i", None).unwrap();
    store.delete_blob(&scope("made"), &target).unwrap();
    store.remove_snapshot(&scope("made"), "test", "s").unwrap();
    store.create_lease(&scope("made"), "l", Labels::new()).unwrap();
    fixture.events.take();
    store.delete_namespace("made").unwrap();
    assert_eq!(fixture.events.topics(), ["/namespaces/delete"]);
    store.create_container(&scope("made"), container("c")).unwrap();
    assert_eq!(store.get_lease(&scope("made"), "l").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn namespace_labels_change_as_the_mask_says() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let info = |pairs: &[(&str, &str)]| NamespaceInfo { name: "n".into(), labels: labels(pairs) };
    store.create_namespace(info(&[("a", "1"), ("b", "2"), ("empty", "")])).unwrap();
    assert_eq!(store.get_namespace("n").unwrap(), info(&[("a", "1"), ("b", "2")]));
    store.update_namespace(info(&[("a", "9"), ("c", "3")]), &mask(&["labels.c", "labels.b"])).unwrap();
    assert_eq!(store.get_namespace("n").unwrap(), info(&[("a", "1"), ("c", "3")]));
    store.update_namespace(info(&[("z", "26")]), &mask(&[])).unwrap();
    assert_eq!(store.get_namespace("n").unwrap(), info(&[("z", "26")]));
    for bad in ["labels", "name"] {
        let error = store.update_namespace(info(&[]), &mask(&[bad])).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot update {bad:?} field"));
    }
    let error = store.create_namespace(NamespaceInfo { name: "no/pe".into(), ..info(&[]) }).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    let long = "x".repeat(5000);
    assert_eq!(store.update_namespace(info(&[("k", &long)]), &mask(&[])).unwrap_err().kind(), Kind::InvalidArgument);
    assert_eq!(fixture.events.topics(), ["/namespaces/create", "/namespaces/update", "/namespaces/update"]);
}

#[test]
fn images_are_created_updated_and_deleted_by_comparison() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let (one, two) = (digest(b"1"), digest(b"2"));
    let epoch = Timestamp { seconds: 1, nanos: 2 };
    let made = store.create_image(&scope, image("a", &one), Some(epoch)).unwrap();
    assert_eq!((made.created_at, made.updated_at), (epoch, epoch));
    assert_eq!(store.create_image(&scope, image("a", &two), None).unwrap_err().to_string(), "image \"a\"");

    let mut change = image("a", &two);
    change.labels = labels(&[("x", "1"), ("y", "2")]);
    change.target.annotations = labels(&[("note", "n")]);
    let updated = store.update_image(&scope, change.clone(), &mask(&["labels.x", "annotations.note"]), None).unwrap();
    assert_eq!((&updated.target.digest, updated.labels.len(), updated.created_at), (&one, 1, epoch));
    assert_eq!(updated.target.annotations, change.target.annotations);
    let updated = store.update_image(&scope, change.clone(), &mask(&[]), None).unwrap();
    assert_eq!((&updated.target.digest, updated.labels.len(), updated.created_at), (&two, 2, epoch));
    let error = store.update_image(&scope, change, &mask(&["created_at"]), None).unwrap_err();
    assert_eq!(error.to_string(), "cannot update \"created_at\" field on image \"a\"");
    assert_eq!(store.update_image(&scope, image("b", &one), &mask(&[]), None).unwrap_err().kind(), Kind::NotFound);

    let mut bad = image("bad", &one);
    bad.target.size = 0;
    assert_eq!(store.create_image(&scope, bad, None).unwrap_err().kind(), Kind::InvalidArgument);
    assert_eq!(store.create_image(&scope, image("", &one), None).unwrap_err().kind(), Kind::InvalidArgument);

    let error = store.delete_image(&scope, "a", Some(&one)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, format!("image \"a\" has target {two}, not {one}")));
    store.delete_image(&scope, "a", Some(&two)).unwrap();
    assert_eq!(store.get_image(&scope, "a").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(fixture.events.topics(), ["/images/create", "/images/update", "/images/update", "/images/delete"]);
}

#[test]
fn containers_keep_what_is_immutable() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let mut with_extension = container("c");
    with_extension.extensions.insert("e".into(), Any { type_url: "t".into(), value: vec![0, 255] });
    with_extension.labels = labels(&[("a", "1"), ("gone", "")]);
    let made = store.create_container(&scope, with_extension).unwrap();
    assert_eq!(store.get_container(&scope, "c").unwrap(), made);
    assert_eq!(made.labels, labels(&[("a", "1")]));

    let mut change = made.clone();
    change.runtime.name = "other".into();
    let error = store.update_container(&scope, change.clone(), &mask(&[])).unwrap_err();
    assert_eq!(error.to_string(), "container.Runtime.Name field is immutable");
    let error = store.update_container(&scope, change.clone(), &mask(&["runtime"])).unwrap_err();
    assert_eq!(error.to_string(), "cannot update \"runtime\" field on \"c\"");
    change.labels = labels(&[("b", "2")]);
    change.extensions.clear();
    let updated = store.update_container(&scope, change.clone(), &mask(&["labels.b", "labels.a"])).unwrap();
    assert_eq!((updated.labels, updated.extensions.len()), (labels(&[("b", "2")]), 1));
    let updated = store.update_container(&scope, change, &mask(&["extensions.e"])).unwrap();
    assert!(updated.extensions.is_empty());
    assert!(updated.updated_at > updated.created_at);
    assert_eq!(updated.runtime.name, "io.containerd.runc.v2");

    for (what, broken) in [
        ("id", container(&"x".repeat(77))),
        ("spec", model::Container { spec: None, ..container("x") }),
        ("runtime", model::Container { runtime: model::Runtime::default(), ..container("x") }),
        ("snapshotter", model::Container { snapshot_key: "k".into(), ..container("x") }),
        ("label", model::Container { labels: labels(&[("k", &"v".repeat(4096))]), ..container("x") }),
    ] {
        assert_eq!(store.create_container(&scope, broken).unwrap_err().kind(), Kind::InvalidArgument, "{what}");
    }
    assert_eq!(store.get_container(&scope, "x").unwrap_err().to_string(), "container \"x\" in namespace \"n\"");
    store.delete_container(&scope, "c").unwrap();
    assert_eq!(store.delete_container(&scope, "c").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn lists_are_filtered_and_keep_to_their_namespace() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    for (namespace, id, image) in [("a", "1", "x"), ("a", "2", "y"), ("ab", "3", "x"), ("b", "4", "x")] {
        let made = model::Container { image: image.into(), ..container(id) };
        store.create_container(&scope(namespace), made).unwrap();
    }
    let ids = |filter: &Filter| -> Vec<String> {
        store.list_containers(&scope("a"), filter).unwrap().into_iter().map(|container| container.id).collect()
    };
    assert_eq!(ids(&Filter::all()), ["1", "2"]);
    assert_eq!(ids(&filter("image==x")), ["1"]);
    assert_eq!(ids(&filter("id~=/^[23]$/")), ["2"]);
    let found = store.list_containers(&scope("a"), &filter("id==2")).unwrap();
    assert_eq!(found[0], store.get_container(&scope("a"), "2").unwrap());
}

#[test]
fn sandboxes_are_records_of_their_own() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let sandbox = Sandbox { id: "s".into(), sandboxer: "shim".into(), ..Sandbox::default() };
    let made = store.create_sandbox(&scope, sandbox.clone()).unwrap();
    assert_eq!(store.get_sandbox(&scope, "s").unwrap(), made);
    assert_eq!(store.create_sandbox(&scope, sandbox).unwrap_err().kind(), Kind::AlreadyExists);
    let change = Sandbox { labels: labels(&[("a", "b")]), sandboxer: "other".into(), ..made };
    let updated = store.update_sandbox(&scope, change, &mask(&["labels"])).unwrap();
    assert_eq!((updated.sandboxer.as_str(), updated.labels.len()), ("shim", 1));
    assert_eq!(store.list_sandboxes(&scope, &filter("labels.a==b")).unwrap().len(), 1);
    store.delete_sandbox(&scope, "s").unwrap();
    assert_eq!(store.get_sandbox(&scope, "s").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn leases_hold_what_they_are_told_to() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    store.create_lease(&scope, "l", labels(&[("k", "v")])).unwrap();
    assert_eq!(store.create_lease(&scope, "l", Labels::new()).unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(store.create_lease(&scope, "", Labels::new()).unwrap_err().kind(), Kind::InvalidArgument);
    assert_eq!(store.list_leases(&scope, &filter("labels.k==v")).unwrap().len(), 1);

    let content = Resource::Content(digest(b"x").to_string());
    let snapshot = Resource::Snapshot("test".into(), "key".into());
    for resource in [&snapshot, &content] {
        store.add_lease_resource(&scope, "l", resource).unwrap();
    }
    assert_eq!(store.list_lease_resources(&scope, "l").unwrap(), [content.clone(), snapshot.clone()]);
    let bad = Resource::Content("sha256:short".into());
    assert_eq!(store.add_lease_resource(&scope, "l", &bad).unwrap_err().kind(), Kind::InvalidArgument);
    store.remove_lease_resource(&scope, "l", &content).unwrap();
    store.remove_lease_resource(&scope, "l", &content).unwrap();
    assert_eq!(store.list_lease_resources(&scope, "l").unwrap(), [snapshot]);
    assert_eq!(store.add_lease_resource(&scope, "none", &content).unwrap_err().to_string(), "lease \"none\"");

    store.delete_lease(&scope, "l").unwrap();
    assert_eq!(store.delete_lease(&scope, "l").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.list_lease_resources(&scope, "l").unwrap_err().kind(), Kind::NotFound);
    store.create_lease(&scope, "l", Labels::new()).unwrap();
    assert_eq!(store.list_lease_resources(&scope, "l").unwrap(), []);
}

#[test]
fn everything_is_there_after_reopening() {
    let fixture = Fixture::new();
    let made = fixture.store.create_container(&scope("n"), container("c")).unwrap();
    let blob = put_blob(&fixture.store, &scope("n"), b"blob", &[("k", "v")]);
    let fixture = fixture.reopen();
    assert_eq!(fixture.store.get_container(&scope("n"), "c").unwrap(), made);
    assert_eq!(fixture.store.blob_info(&scope("n"), &blob).unwrap().labels, labels(&[("k", "v")]));
}
