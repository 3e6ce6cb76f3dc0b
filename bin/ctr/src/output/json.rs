//! JSON as Go's ctr prints it: four spaces deep, with characters that HTML minds escaped.

use super::line;
use crate::failure::Outcome;
use model::{Error, Labels};
use serde::Serialize;
use serde_json::{Value, json};

/// Prints a document.
pub(crate) fn print_json(document: &impl Serialize) -> Outcome {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    document.serialize(&mut serializer).map_err(|error| Error::internal("write JSON").caused_by(error))?;
    line(escape(&String::from_utf8_lossy(&bytes)))
}

/// Labels, or `null` if there are none: a map that Go never made.
pub(crate) fn labels_or_null(labels: &Labels) -> Value {
    if labels.is_empty() { Value::Null } else { json!(labels) }
}

/// Go escapes these even where no HTML is near; they occur only inside strings.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}
