//! Labels and their one rule.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// Most bytes of a label's key and value together (containerd's `labels.Validate`).
const MAX: usize = 4096;

/// Checks one label: key and value together may have 4,096 bytes.
pub fn validate_label(key: &str, value: &str) -> Result<()> {
    let len = key.len() + value.len();
    if len <= MAX {
        return Ok(());
    }
    // Long keys are cut so that the message stays readable.
    let shown: String = key.chars().take(64).collect();
    Err(Error::invalid_argument(format!(
        "label key and value length ({len} bytes) greater than maximum size ({MAX} bytes), key: {shown}"
    )))
}

/// Checks every label of `labels`.
pub fn validate_labels(labels: &Labels) -> Result<()> {
    labels.iter().try_for_each(|(key, value)| validate_label(key, value))
}
