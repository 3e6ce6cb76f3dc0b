//! Names of images in registries as users write them, with advice where they wrote less.

use client::oci::docker_reference;
use distribution::Reference;
use model::{Error, Result};

/// Takes a name apart. Nothing is completed: what is not written is not guessed, as with Go's ctr.
pub(crate) fn reference(text: &str) -> Result<Reference> {
    text.parse().map_err(|error: Error| match docker_reference(text) {
        Ok(full) if full != text => advised(&error, &format!("did you mean {full}?")),
        _ => error,
    })
}

/// The same, with its tag or digest: of both, the digest.
pub(crate) fn object_reference(text: &str) -> Result<(Reference, String)> {
    let reference = reference(text)?;
    let object = reference.object().map_err(|error| advised(&error, &format!("try {text}:latest")))?.to_owned();
    Ok((reference, object))
}

fn advised(error: &Error, advice: &str) -> Error {
    Error::new(error.kind(), format!("{error} ({advice})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let error = reference("busybox").unwrap_err();
        assert!(error.to_string().contains("docker.io/library/busybox:latest"), "{error}");
        let error = object_reference("docker.io/library/busybox").unwrap_err();
        assert!(error.to_string().contains("try docker.io/library/busybox:latest"), "{error}");
        assert_eq!(object_reference("r/a:t").unwrap().1, "t");
    }
}
