//! Blobs and ingests through namespaces: resuming, sharing, leases.

use crate::support::*;
use model::{FieldMask, Filter, Kind, Labels, NamespaceInfo, Resource};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use store::{Sharing, Store, WriterOptions};

fn options(reference: &str, expected: Option<&[u8]>) -> WriterOptions {
    let expected = expected.map(digest);
    WriterOptions { reference: reference.into(), expected, ..WriterOptions::default() }
}

#[test]
fn a_blob_is_written_read_and_deleted() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let mut writer = store.open_writer(&scope, &options("r", None)).unwrap();
    writer.write(b"hello ").unwrap();
    writer.write(b"world").unwrap();
    assert_eq!((writer.status().offset, writer.digest().unwrap()), (11, digest(b"hello world")));
    assert_eq!(store.ingest_status(&scope, "r").unwrap().offset, 11);
    let made = writer.commit(11, None, labels(&[("a", "1")])).unwrap();
    assert_eq!(made, digest(b"hello world"));
    assert_eq!(store.ingest_status(&scope, "r").unwrap_err().kind(), Kind::NotFound);

    let info = store.blob_info(&scope, &made).unwrap();
    assert_eq!((info.size, info.labels), (11, labels(&[("a", "1")])));
    let mut buffer = [0; 16];
    let reader = store.open_reader(&scope, &made).unwrap();
    assert_eq!(reader.read_at(&mut buffer, 6).unwrap(), 5);
    assert_eq!(&buffer[..5], b"world");

    let mask = FieldMask(vec!["labels.b".into()]);
    let updated = store.update_blob(&scope, &made, labels(&[("b", "2")]), &mask).unwrap();
    assert_eq!(updated.labels, labels(&[("a", "1"), ("b", "2")]));
    let error = store.update_blob(&scope, &made, Labels::new(), &FieldMask(vec!["size".into()])).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert_eq!(store.list_blobs(&scope, &filter("labels.b==2")).unwrap().len(), 1);

    store.delete_blob(&scope, &made).unwrap();
    assert_eq!(store.open_reader(&scope, &made).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.delete_blob(&scope, &made).unwrap_err().to_string(), format!("content digest {made}"));
    assert!(fixture.blob_file(&made).exists(), "the bytes are the collector's");
    store.collect_garbage().unwrap();
    assert!(!fixture.blob_file(&made).exists());
    assert_eq!(fixture.events.topics(), ["/content/create", "/content/delete"]);
}

#[test]
fn an_ingest_is_locked_resumed_and_aborted() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let mut writer = store.open_writer(&scope, &options("r", None)).unwrap();
    writer.write(b"part").unwrap();
    let error = store.open_writer(&scope, &options("r", None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("locked"), "{error}");
    // Another namespace's reference is another ingest.
    drop(store.open_writer(&scope_of("m"), &options("r", None)).unwrap());
    drop(writer);

    let mut writer = store.open_writer(&scope, &options("r", None)).unwrap();
    assert_eq!((writer.status().offset, writer.status().reference.as_str()), (4, "r"));
    assert_eq!(store.list_ingests(&scope, &Filter::all()).unwrap().len(), 1);
    assert_eq!(store.list_ingests(&scope, &filter("ref==other")).unwrap().len(), 0);
    writer.truncate().unwrap();
    writer.write(b"whole").unwrap();
    let wrong = digest(b"else");
    let error = writer.commit(0, Some(&wrong), Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    let writer = store.open_writer(&scope, &options("r", None)).unwrap();
    let error = writer.commit(99, None, Labels::new()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (Kind::FailedPrecondition, "\"r\" failed size validation: 5 != 99".into())
    );
    let writer = store.open_writer(&scope, &options("r", None)).unwrap();
    assert_eq!(writer.status().offset, 5);
    writer.abort().unwrap();
    assert_eq!(store.abort_ingest(&scope, "r").unwrap_err().to_string(), "reference r");
    assert_eq!(store.list_ingests(&scope, &Filter::all()).unwrap().len(), 0);
    assert_eq!(store.open_writer(&scope, &options("", None)).unwrap_err().kind(), Kind::InvalidArgument);
}

fn scope_of(namespace: &str) -> model::Scope {
    scope(namespace)
}

#[test]
fn a_blob_that_exists_is_told_and_leased() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let made = put_blob(store, &scope("n"), b"blob", &[]);
    store.create_lease(&scope("n"), "l", Labels::new()).unwrap();
    let error = store.open_writer(&leased("n", "l"), &options("r", Some(b"blob"))).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::AlreadyExists, format!("content {made}")));
    let held = [Resource::Content(made.to_string())];
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), held);

    // Found out only when it is committed.
    let mut writer = store.open_writer(&leased("n", "l"), &options("r", None)).unwrap();
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap().len(), 2);
    writer.write(b"blob").unwrap();
    assert_eq!(writer.commit(0, None, Labels::new()).unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), held);
    assert_eq!(store.ingest_status(&scope("n"), "r").unwrap_err().kind(), Kind::NotFound);

    let error = store.open_writer(&leased("n", "none"), &options("r", None)).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(store.list_ingests(&scope("n"), &Filter::all()).unwrap().len(), 0);
}

#[test]
fn a_known_blob_is_shared_without_writing_it_again() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let made = put_blob(store, &scope("a"), b"shared", &[]);
    let writer = store.open_writer(&scope("b"), &options("r", Some(b"shared"))).unwrap();
    assert_eq!((writer.status().offset, writer.digest().unwrap()), (6, made.clone()));
    assert_eq!(store.blob_info(&scope("b"), &made).unwrap_err().kind(), Kind::NotFound, "not before it is committed");
    // The namespace that had it lets go meanwhile.
    store.delete_blob(&scope("a"), &made).unwrap();
    store.collect_garbage().unwrap();
    writer.commit(6, Some(&made), Labels::new()).unwrap();
    assert_eq!(store.open_reader(&scope("b"), &made).unwrap().size(), 6);
}

/// Who began before there was anything to share goes on.
#[test]
fn a_shared_blob_disturbs_nobody_who_writes_it() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let mut early = store.open_writer(&scope("b"), &options("r", Some(b"shared"))).unwrap();
    early.write(b"sha").unwrap();
    let made = put_blob(store, &scope("a"), b"shared", &[]);
    let late = store.open_writer(&scope("b"), &options("r", Some(b"shared"))).unwrap();
    late.commit(6, Some(&made), Labels::new()).unwrap();
    store.collect_garbage().unwrap();
    early.write(b"red").unwrap();
    let error = early.commit(6, Some(&made), Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    assert_eq!(store.list_ingests(&scope("b"), &Filter::default()).unwrap().len(), 0);
    assert_eq!(store.ingest_status(&scope("b"), "r").unwrap_err().kind(), Kind::NotFound);
}

/// Whoever opens an ingest just as another commits it goes on with nothing that the collector takes away.
#[test]
fn an_ingest_that_another_ends_is_not_gone_on_with() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.collect_garbage().unwrap();
            }
        });
        let writers: Vec<_> =
            (0..4).map(|_| threads.spawn(|| (0..200).for_each(|round| contend(store, round)))).collect();
        let outcomes: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(Result::unwrap);
    });
}

/// Writes a blob that others write by the same reference.
fn contend(store: &Store, round: usize) {
    let bytes = format!("blob {round}").repeat(10);
    loop {
        let mut writer = match store.open_writer(&scope("n"), &options("r", Some(bytes.as_bytes()))) {
            Ok(writer) => writer,
            Err(error) if error.kind() == Kind::Unavailable => continue,
            Err(error) => return assert_eq!(error.kind(), Kind::AlreadyExists, "{error}"),
        };
        if writer.status().offset == 0 {
            for half in bytes.as_bytes().chunks(bytes.len() / 2) {
                writer.write(half).unwrap();
                thread::yield_now();
            }
        }
        match writer.commit(
            bytes.len() as u64,
            Some(&digest(bytes.as_bytes())),
            labels(&[("containerd.io/gc.root", "1")]),
        ) {
            Err(error) => return assert_eq!(error.kind(), Kind::AlreadyExists, "{error}"),
            Ok(_) => return,
        }
    }
}

#[test]
fn a_shared_blob_that_is_written_to_becomes_the_writers_own() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    put_blob(store, &scope("a"), b"begin", &[]);
    let mut writer = store.open_writer(&scope("b"), &options("r", Some(b"begin"))).unwrap();
    writer.write(b" and end").unwrap();
    assert_eq!(writer.commit(0, None, Labels::new()).unwrap(), digest(b"begin and end"));
    let mut writer = store.open_writer(&scope("b"), &options("r", Some(b"begin"))).unwrap();
    writer.truncate().unwrap();
    writer.write(b"anew").unwrap();
    assert_eq!(writer.commit(0, None, Labels::new()).unwrap(), digest(b"anew"));
}

#[test]
fn isolated_namespaces_prove_what_they_have_unless_one_shares() {
    let fixture = Fixture::with(|config| config.sharing = Sharing::Isolated);
    let store = &fixture.store;
    put_blob(store, &scope("a"), b"secret", &[]);
    let offset =
        |store: &Store| store.open_writer(&scope("b"), &options("r", Some(b"secret"))).unwrap().status().offset;
    assert_eq!(offset(store), 0);
    let shareable = labels(&[("containerd.io/namespace.shareable", "true")]);
    store.update_namespace(NamespaceInfo { name: "a".into(), labels: shareable }, &FieldMask::default()).unwrap();
    assert_eq!(offset(store), 6);
}

#[test]
fn many_writers_at_once_all_succeed() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    thread::scope(|threads| {
        for writer in 0..8 {
            threads.spawn(move || {
                for blob in 0..25 {
                    put_blob(store, &scope("n"), format!("{writer}/{blob}").as_bytes(), &[]);
                }
            });
        }
    });
    assert_eq!(store.list_blobs(&scope("n"), &Filter::all()).unwrap().len(), 200);
}
