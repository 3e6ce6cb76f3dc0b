//! Image documents: what parses can be written, and then parses to the same.

use crate::Target;
use client::oci::{Document, Image, Index, Manifest};
use serde::Serialize;
use std::fmt::Debug;

/// See the module.
pub const TARGET: Target = Target { name: "manifest", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "null",
    "1e400",
    "-1",
    "18446744073709551616",
    "\"\\ud800\"",
    "\"digest\"",
    "\"size\"",
    "\"layers\"",
    "\"mediaType\"",
    "\"config\"",
    "\"annotations\"",
    ":",
    ",",
];

fn inputs() -> Vec<Vec<u8>> {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let descriptor = format!(
        r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":32,"annotations":{{"a":"b"}},"urls":["u"]}}"#
    );
    vec![
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{descriptor},"layers":[{descriptor},{descriptor}],"annotations":{{"k":"v"}}}}"#
        ),
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{digest}","size":1,"platform":{{"architecture":"arm","os":"linux","variant":"v7","os.features":["x"]}}}}]}}"#
        ),
        format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["A=b"],"Cmd":null,"Labels":{{"l":"v"}}}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"history":[{{"created_by":"x","empty_layer":true}}]}}"#
        ),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

fn run(data: &[u8]) {
    round_trip::<Manifest>(data);
    round_trip::<Index>(data);
    round_trip::<Image>(data);
    if let Ok(image) = Image::parse("image", data) {
        let _ = image.diff_ids();
    }
}

fn round_trip<T: Document + Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(document) = T::parse("document", data) else { return };
    let text = serde_json::to_vec(&document).expect("what was parsed can be written");
    assert_eq!(T::parse("document", &text).expect("what was written can be parsed"), document);
}
