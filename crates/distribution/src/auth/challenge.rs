//! `WWW-Authenticate`: a scheme and its parameters (RFC 9110, 11.6.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Basic,
    Bearer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) scheme: Scheme,
    /// Names in lower case.
    pub(super) parameters: HashMap<String, String>,
}

impl Challenge {
    /// Every challenge whose scheme we know, one header each as registries send them.
    pub(super) fn parse_all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE);
        values.iter().filter_map(|value| Self::parse(value.to_str().ok()?)).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "basic" => Scheme::Basic,
            "bearer" => Scheme::Bearer,
            _ => return None,
        };
        let mut parameters = HashMap::new();
        let mut rest = rest;
        while let Some((name, value, tail)) = parameter(rest) {
            parameters.insert(name.to_ascii_lowercase(), value);
            rest = tail;
        }
        Some(Self { scheme, parameters })
    }
}

/// `name=value` or `name="value"`, and what comes after the comma.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.trim_start().split_once('=')?;
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let rest = rest.trim_start();
    Some((name.trim(), value, rest.strip_prefix(',').unwrap_or(rest)))
}

/// Up to the closing quote; a backslash quotes the character after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_send() {
        let text = r#"Bearer realm="https://auth.example/token?a=b,c",service="reg",scope="repository:a/b:pull,push",error=invalid_token"#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.scheme, Scheme::Bearer);
        assert_eq!(challenge.parameters["realm"], "https://auth.example/token?a=b,c");
        assert_eq!(challenge.parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(challenge.parameters["error"], "invalid_token");
        assert_eq!(Challenge::parse("Basic realm=\"a \\\"b\\\"\"").unwrap().parameters["realm"], "a \"b\"");
        assert!(Challenge::parse("basic").unwrap().parameters.is_empty());
        assert!(Challenge::parse("Digest realm=\"x\"").is_none());
        assert!(Challenge::parse("Bearer realm=\"never closed").unwrap().parameters.is_empty());
    }
}
