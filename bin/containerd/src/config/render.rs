//! Prints a configuration the way containerd does: plain keys first, tables indented,
//! strings in single quotes.

use std::fmt::Write as _;
use toml::{Table, Value};

/// `config` as text, with its `version` first.
pub(super) fn render(version: i64, config: &Table) -> String {
    let mut out = format!("version = {version}\n");
    table(&mut out, config, &mut Vec::new());
    out
}

fn table(out: &mut String, contents: &Table, path: &mut Vec<String>) {
    let indent = "  ".repeat(path.len());
    for (key, value) in contents.iter().filter(|(_, value)| !value.is_table()) {
        let _ = writeln!(out, "{indent}{} = {}", quote_key(key), scalar(value));
    }
    for (key, value) in contents {
        if let Value::Table(inner) = value {
            path.push(quote_key(key));
            let _ = writeln!(out, "\n{}[{}]", "  ".repeat(path.len() - 1), path.join("."));
            table(out, inner, path);
            path.pop();
        }
    }
}

fn quote_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { key.to_owned() } else { quote(key) }
}

fn quote(text: &str) -> String {
    if text.contains(|c: char| c == '\'' || c.is_control()) {
        return Value::String(text.to_owned()).to_string();
    }
    format!("'{text}'")
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(values) => format!("[{}]", values.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
