//! The name of an image at a registry.

use client::oci::docker_reference;
use model::{Digest, Error, Result};

/// `registry/name:tag` or `registry/name@digest`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Host, with its port: `localhost:5000`.
    pub(crate) registry: String,
    /// Repository within it: `library/busybox`.
    pub(crate) repository: String,
    /// Tag or digest; of both, the digest.
    pub(crate) object: Option<String>,
}

impl Remote {
    /// Takes a reference apart. Nothing is completed: what is not written is not guessed, as with Go's ctr.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            let advice = match docker_reference(text) {
                Ok(full) if full != text => format!(" (did you mean {full}?)"),
                _ => String::new(),
            };
            Error::invalid_argument(format!("image reference {text:?}: {why}{advice}"))
        };
        let (registry, rest) = text.split_once('/').ok_or_else(|| invalid("it names no registry"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest: Digest = digest.parse().map_err(|error| invalid("invalid digest").caused_by(error))?;
                (rest, Some(digest.to_string()))
            }
            None => (rest, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if registry.is_empty() || repository.is_empty() {
            return Err(invalid("registry and repository must not be empty"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), object: digest.or(tag) })
    }

    /// The same, with a tag or digest.
    pub(crate) fn parse_object(text: &str) -> Result<(Self, String)> {
        let remote = Self::parse(text)?;
        let object = remote.object.clone().filter(|object| !object.is_empty());
        let object = object.ok_or_else(|| {
            Error::invalid_argument(format!(
                "image reference {text:?}: it has neither tag nor digest (try {text}:latest)"
            ))
        })?;
        Ok((remote, object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, registry, repository, object) in [
            ("docker.io/library/busybox:1", "docker.io", "library/busybox", Some("1")),
            ("localhost:5000/a/b:c", "localhost:5000", "a/b", Some("c")),
            ("[::1]:5000/a", "[::1]:5000", "a", None),
            (&format!("r/a:t@{digest}"), "r", "a", Some(digest.as_str())),
            (&format!("r/a@{digest}"), "r", "a", Some(digest.as_str())),
        ] {
            let remote = Remote::parse(text).unwrap();
            assert_eq!(
                (remote.registry.as_str(), remote.repository.as_str(), remote.object.as_deref()),
                (registry, repository, object)
            );
        }
        let error = Remote::parse("busybox").unwrap_err();
        assert!(error.to_string().contains("docker.io/library/busybox:latest"), "{error}");
        assert!(Remote::parse_object("docker.io/library/busybox").unwrap_err().to_string().contains(":latest"));
        for bad in ["", "/a", "r/", "r/a@sha256:12"] {
            assert!(Remote::parse(bad).is_err(), "{bad}");
        }
    }
}
