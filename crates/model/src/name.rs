//! The rule for identifiers: containers, namespaces, leases, topics' parts.

use crate::{Error, Result};

/// Most characters of an identifier.
const MAX: usize = 76;

/// Checks an identifier: 1 to 76 of letters and digits in runs joined by single `.`, `_` or `-`
/// (containerd's `identifiers.Validate`).
pub fn validate_identifier(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid_argument("identifier must not be empty"));
    }
    if text.len() > MAX {
        let shown: String = text.chars().take(MAX).collect();
        return Err(Error::invalid_argument(format!(
            "identifier {shown:?}… ({} bytes) greater than maximum length ({MAX} characters)",
            text.len()
        )));
    }
    let parts_are_good = text
        .split(['.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if parts_are_good {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("identifier {text:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_containerds_expression() {
        for good in ["a", "default", "k8s.io", "swarmkit-cache", "0912341234", "task.0.0123456789", &"a".repeat(76)] {
            assert!(validate_identifier(good).is_ok(), "{good}");
        }
        for bad in ["", ".foo", "foo..foo", "foo-", "foo/foo", "foo.-boo", "-foo", "ä", &"a".repeat(77)] {
            assert!(validate_identifier(bad).is_err(), "{bad}");
        }
    }
}
