//! Where output goes, from the string a client gave: a path or a URI.

use model::{Error, Result};
use std::path::PathBuf;

/// A destination of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Thrown away.
    Null,
    /// A fifo, or another file that exists.
    Path(PathBuf),
    /// A file to append to, made if absent.
    File(PathBuf),
    /// A program that reads stdout and stderr.
    Logger(Logger),
}

/// A logging program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logger {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Whether it must say it is ready (`binary-v2`) or may also just close the pipe.
    pub(crate) must_confirm: bool,
}

impl Target {
    /// Reads `uri`: nothing, a path, or a URI with scheme `fifo`, `file`, `binary` or `binary-v2`.
    pub(crate) fn parse(uri: &str) -> Result<Self> {
        if uri.is_empty() {
            return Ok(Self::Null);
        }
        let Some((scheme, rest)) = uri.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Self::Path(PathBuf::from(uri)));
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // What stands before the path would be a host, which none of these has.
        let path = path.find('/').map(|start| decode(&path[start..])).filter(|path| !path.contains('\0'));
        let path =
            path.map(PathBuf::from).ok_or_else(|| Error::invalid_argument(format!("stdio URI {uri:?} has no path")))?;
        match scheme {
            "fifo" => Ok(Self::Path(path)),
            "file" => Ok(Self::File(path)),
            "binary" | "binary-v2" => Ok(Self::Logger(Logger {
                program: path,
                arguments: arguments(query),
                must_confirm: scheme == "binary-v2",
            })),
            _ => Err(Error::unknown(format!("unknown STDIO scheme {scheme}"))),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `a=1&b` as `a 1 b ""`: each key, then its value, as loggers expect them.
fn arguments(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decode = |text: &str| decode(&text.replace('+', " "));
    pairs
        .flat_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            [decode(key), decode(value)]
        })
        .filter(|text| !text.contains('\0'))
        .collect()
}

/// Undoes percent-encoding; what is not valid encoding stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_clients_use() {
        let parse = |uri: &str| Target::parse(uri).unwrap();
        assert_eq!(parse(""), Target::Null);
        assert_eq!(parse("/run/containerd/fifo/1/x-stdout"), Target::Path("/run/containerd/fifo/1/x-stdout".into()));
        assert_eq!(parse("fifo:///a"), Target::Path("/a".into()));
        assert_eq!(parse("file:///var/log/a%20b"), Target::File("/var/log/a b".into()));
        let logger = Logger {
            program: "/usr/bin/nerdctl".into(),
            arguments: ["_NERDCTL_INTERNAL_LOGGING", "/var/lib/nerdctl", "b", ""].map(str::to_owned).into(),
            must_confirm: false,
        };
        let uri = "binary:///usr/bin/nerdctl?_NERDCTL_INTERNAL_LOGGING=%2Fvar%2Flib%2Fnerdctl&b";
        assert_eq!(parse(uri), Target::Logger(logger));
        assert!(matches!(parse("binary-v2:///l"), Target::Logger(Logger { must_confirm: true, .. })));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(Target::parse("npipe:///a").unwrap_err().to_string(), "unknown STDIO scheme npipe");
        assert!(Target::parse("file://").is_err());
        assert!(Target::parse("odd://%zz/%4").is_err());
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
