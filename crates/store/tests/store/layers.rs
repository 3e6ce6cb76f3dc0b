//! Layers written to the content store and unpacked from it.

use crate::support::*;
use model::{Descriptor, Digest, Kind, Mount, Timestamp};
use std::{collections::BTreeMap, fs, path::Path};
use store::{
    Store, WriterOptions,
    layers::{ApplyOptions, DiffRequest, TAR, TAR_GZIP, TAR_ZSTD},
};

const UNCOMPRESSED: &str = "containerd.io/uncompressed";

fn bind(directory: &Path) -> Vec<Mount> {
    let source = directory.to_str().unwrap().to_owned();
    vec![Mount { fs_type: "bind".into(), source, ..Mount::default() }]
}

fn label(store: &Store, digest: &Digest) -> Option<String> {
    store.blob_info(&scope("n"), digest).unwrap().labels.get(UNCOMPRESSED).cloned()
}

#[test]
fn a_layer_goes_into_the_store_and_comes_out() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("file"), "data").unwrap();
    let mut diff_ids = Vec::new();
    for media_type in [TAR_GZIP, TAR_ZSTD, TAR, ""] {
        let request = DiffRequest {
            media_type: media_type.into(),
            labels: labels(&[("own", "label")]),
            source_date_epoch: Some(Timestamp { seconds: 1, nanos: 0 }),
            ..DiffRequest::default()
        };
        let layer = store.diff_layer(&scope, &[], &bind(source.path()), request).unwrap();
        assert_eq!(layer.media_type, if media_type.is_empty() { TAR_GZIP } else { media_type });
        let info = store.blob_info(&scope, &layer.digest).unwrap();
        assert_eq!((info.size, info.labels["own"].as_str()), (layer.size, "label"));

        let applied = store.apply_layer(&scope, &layer, &bind(target.path()), &ApplyOptions::default()).unwrap();
        assert_eq!((applied.media_type.as_str(), applied.size), (TAR, 2048));
        assert_eq!(fs::read_to_string(target.path().join("file")).unwrap(), "data");
        fs::remove_file(target.path().join("file")).unwrap();
        let expected = (media_type != TAR).then(|| applied.digest.to_string());
        assert_eq!(label(store, &layer.digest), expected);
        diff_ids.push(applied.digest);
    }
    assert!(diff_ids.iter().all(|diff_id| *diff_id == diff_ids[0]));
    assert!(store.list_ingests(&scope, &model::Filter::default()).unwrap().is_empty());
}

#[test]
fn a_blob_that_is_there_already_is_labelled() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    let diff = || store.diff_layer(&scope, &[], &bind(source.path()), DiffRequest::default()).unwrap();
    let first = diff();
    let contents = label(store, &first.digest);
    store.update_blob(&scope, &first.digest, model::Labels::new(), &model::FieldMask::default()).unwrap();
    assert_eq!(label(store, &first.digest), None);
    assert_eq!(diff(), first);
    assert_eq!(label(store, &first.digest), contents);
}

#[test]
fn failures_leave_no_ingest_but_the_callers() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let absent = bind(Path::new("/nonexistent/snapshot"));
    let error = store.diff_layer(&scope, &[], &absent, DiffRequest::default()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/snapshot"), "{error}");
    assert!(store.list_ingests(&scope, &model::Filter::default()).unwrap().is_empty());

    let unknown = DiffRequest { media_type: "text/plain".into(), ..DiffRequest::default() };
    assert_eq!(store.diff_layer(&scope, &[], &absent, unknown).unwrap_err().kind(), Kind::Unimplemented);

    // What an earlier attempt left under the caller's reference is written anew.
    let source = tempfile::tempdir().unwrap();
    let mine = WriterOptions { reference: "mine".into(), ..WriterOptions::default() };
    let mut writer = store.open_writer(&scope, &mine).unwrap();
    writer.write(b"half of something").unwrap();
    let request = || DiffRequest { reference: "mine".into(), ..DiffRequest::default() };
    let locked = store.diff_layer(&scope, &[], &bind(source.path()), request()).unwrap_err();
    assert_eq!(locked.kind(), Kind::Unavailable);
    drop(writer);
    let layer = store.diff_layer(&scope, &[], &bind(source.path()), request()).unwrap();
    assert_eq!(store.blob_info(&scope, &layer.digest).unwrap().size, layer.size);
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let target = tempfile::tempdir().unwrap();
    let apply = |media_type: &str, digest: &Digest| {
        let layer =
            Descriptor { media_type: media_type.into(), digest: digest.clone(), size: 0, annotations: BTreeMap::new() };
        store.apply_layer(&scope, &layer, &bind(target.path()), &ApplyOptions::default())
    };
    let absent = digest(b"absent");
    assert_eq!(apply(TAR, &absent).unwrap_err().kind(), Kind::NotFound);

    let text = put_blob(store, &scope, b"this is not a layer, but it is long enough not to be cut", &[]);
    assert_eq!(apply("text/plain", &text).unwrap_err().kind(), Kind::Unimplemented);
    let error = apply(TAR_GZIP, &text).unwrap_err();
    assert!(error.to_string().contains(text.as_str()) && error.to_string().contains("header"), "{error}");

    // The disk changed under us: a layer that unpacks, but is not the one that was named.
    let empty = put_blob(store, &scope, &[0; 1024], &[]);
    let file = fixture.blob_file(&empty);
    fs::remove_file(&file).unwrap();
    fs::write(&file, [0; 2048]).unwrap();
    let error = apply(TAR, &empty).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.to_string().contains(empty.as_str()), "{error}");
}
