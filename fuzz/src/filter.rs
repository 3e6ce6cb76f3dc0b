//! Filters: parsing gives a filter or says where the text is wrong, and any filter can be asked about any object.

use crate::{Target, seeds};
use model::{BlobInfo, Digest, Filter, Labels, Timestamp};

/// See the module.
pub const TARGET: Target = Target { name: "filter", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] =
    &["==", "!=", "~=", ",", ".", "\"", "|", "/", "\\", "labels", "name", "\\x", "\\u", "^", "$", "*"];

fn inputs() -> Vec<Vec<u8>> {
    seeds(&[
        "name==debian",
        "labels.\"containerd.io/gc.root\"!=x,name~=^docker\\.io/",
        "namespace==moby,topic~=|^/tasks/|",
        "labels.a",
        "name==\"quoted \\\" \\x41 \\u00e9\"",
        "size~=/[0-9]+/",
    ])
}

fn blob() -> BlobInfo {
    let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest");
    let labels = Labels::from([("a".into(), "b".into()), ("containerd.io/gc.root".into(), "x".into())]);
    BlobInfo { digest, size: 7, created_at: Timestamp::default(), updated_at: Timestamp::default(), labels }
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Filter::parse(&[text]) {
        Ok(filter) => {
            filter.matches(&blob());
        }
        Err(error) => assert_eq!(error.kind(), model::Kind::InvalidArgument, "{error}"),
    }
}
