//! Names of images in registries, `host/repository[:tag][@digest]` (containerd's `reference.Spec`).

use model::{Digest, Error, Result};
use std::{fmt, str::FromStr};

/// The name of an image in a registry. Nothing is completed: the host is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, with its port if it has one.
    pub registry: String,
    /// Name in the registry.
    pub repository: String,
    /// Tag.
    pub tag: Option<String>,
    /// Digest; it counts where both are given.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask the registry for.
    ///
    /// # Errors
    /// `InvalidArgument` for a name without tag and digest.
    pub fn object(&self) -> Result<&str> {
        let object = self.digest.as_ref().map(Digest::as_str).or(self.tag.as_deref());
        object.ok_or_else(|| Error::invalid_argument(format!("reference {self}: object required")))
    }

    /// What to push a manifest with `digest` as: by its tag, if it has one and no other manifest's digest.
    pub fn pushed_as<'a>(&'a self, digest: &'a Digest) -> &'a str {
        let is_this = self.digest.as_ref().is_none_or(|named| named == digest);
        self.tag.as_deref().filter(|_| is_this).unwrap_or(digest.as_str())
    }

    /// The host without its port, as labels of blobs name it.
    pub fn host_name(&self) -> &str {
        match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid_argument(format!("reference {text:?}: {why}"));
        if text.contains("://") || text.contains(char::is_whitespace) {
            return Err(invalid("invalid reference"));
        }
        let (registry, path) = text.split_once('/').ok_or_else(|| invalid("no host, or nothing after it"))?;
        if registry.is_empty() {
            return Err(invalid("hostname required"));
        }
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest.parse().map_err(|error| invalid("digest").caused_by(error))?)),
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if repository.is_empty() || tag.as_deref() == Some("") {
            return Err(invalid("an empty part"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(out, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_apart_and_together() {
        let hex = "ab".repeat(32);
        for (text, host, repository, object) in [
            ("docker.io/library/busybox:1.36", "docker.io", "library/busybox", "1.36".to_owned()),
            ("localhost:5000/a:b", "localhost", "a", "b".to_owned()),
            ("[::1]:5000/a:b", "::1", "a", "b".to_owned()),
            (&format!("r.example/a/b:t@sha256:{hex}"), "r.example", "a/b", format!("sha256:{hex}")),
            (&format!("r.example/a@sha256:{hex}"), "r.example", "a", format!("sha256:{hex}")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!((reference.host_name(), reference.repository.as_str()), (host, repository));
            assert_eq!(reference.object().unwrap(), object);
        }
        for bad in ["", "busybox", "/a:b", "https://r/a:b", "r/:b", "r/a:", "r/a@sha256:12", "r/a b"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!("r/a".parse::<Reference>().unwrap().object().is_err());
    }

    #[test]
    fn a_push_writes_the_tag_unless_the_digest_is_anothers() {
        let (this, other) = (format!("sha256:{}", "ab".repeat(32)), format!("sha256:{}", "cd".repeat(32)));
        let digest = this.parse().unwrap();
        for (text, expected) in [
            ("r/a:t".to_owned(), "t"),
            (format!("r/a:t@{this}"), "t"),
            (format!("r/a:t@{other}"), &*this),
            ("r/a".to_owned(), &*this),
            (format!("r/a@{this}"), &*this),
            (format!("r/a@{other}"), &*this),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().pushed_as(&digest), expected, "{text}");
        }
    }
}
