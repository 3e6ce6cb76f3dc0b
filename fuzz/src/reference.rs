//! Image references: completing a name gives one that is complete already.

use crate::{Target, seeds};
use client::oci::{docker_reference, familiar_name, object_of};

/// See the module.
pub const TARGET: Target = Target { name: "reference", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] =
    &["/", ":", "@", ".", "-", "_", "__", "docker.io", "library", "latest", "localhost", "sha256:", "[::1]"];

fn inputs() -> Vec<Vec<u8>> {
    seeds(&[
        "debian",
        "docker.io/library/debian:sid",
        "localhost:5000/a/b-c_d__e:v1.0",
        "registry.example.org/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "[::1]:5000/name:tag@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ])
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = object_of(text);
    let _ = familiar_name(text);
    if let Ok(complete) = docker_reference(text) {
        let again = docker_reference(&complete).expect("a completed reference is one");
        assert_eq!(again, complete, "completing {text:?} twice");
    }
}
