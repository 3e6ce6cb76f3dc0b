//! `hosts.toml`: the server and its mirrors, in the order they are written.

use super::{Capabilities, Host, Hosts, certs, port_of};
use model::{Error, Result};
use reqwest::header::{HeaderName, HeaderValue};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// Keys that a host may have.
const KEYS: &[&str] = &["capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"];

/// The hosts that the folder `dir` configures for `registry`, beginning with what `defaults` says.
pub(super) fn load(dir: &Path, registry: &str, defaults: &Hosts) -> Result<Vec<Host>> {
    let path = dir.join("hosts.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
    };
    if text.trim().is_empty() {
        let mut host = defaults.own_host(registry);
        certs::add(dir, &mut host.tls)?;
        return Ok(vec![host]);
    }
    parse(&text, dir, registry, defaults)
        .map_err(|error| error.context(format!("{}: configuration of registry {registry}", path.display())))
}

fn parse(text: &str, dir: &Path, registry: &str, defaults: &Hosts) -> Result<Vec<Host>> {
    let document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| Error::invalid_argument("not TOML").caused_by(error))?;
    let root = document.as_table();
    note_unknown(root, &["server", "host"], registry);
    let mut hosts = Vec::new();
    if let Some(mirrors) = root.get("host") {
        let mirrors = mirrors.as_table_like().ok_or_else(|| invalid("host", "a table"))?;
        for (url, item) in mirrors.iter() {
            let table = item.as_table_like().ok_or_else(|| invalid(&format!("host.{url:?}"), "a table"))?;
            note_unknown(table, &[], registry);
            let mut host = parse_host(Some(url), table, dir, registry, defaults)
                .map_err(|error| error.context(format!("host {url:?}")))?;
            host.mirror = true;
            hosts.push(host);
        }
    }
    let server = root.get("server").map(|item| string(item, "server")).transpose()?;
    hosts.push(parse_host(server, root, dir, registry, defaults)?);
    Ok(hosts)
}

fn note_unknown(table: &dyn TableLike, also: &[&str], registry: &str) {
    for (key, _) in table.iter() {
        if !KEYS.contains(&key) && !also.contains(&key) {
            tracing::warn!(registry, key, "unknown key in hosts.toml is ignored");
        }
    }
}

fn parse_host(url: Option<&str>, table: &dyn TableLike, dir: &Path, registry: &str, defaults: &Hosts) -> Result<Host> {
    let override_path = match table.get("override_path") {
        Some(item) => item.as_bool().ok_or_else(|| invalid("override_path", "a boolean"))?,
        None => false,
    };
    let mut host = match url.filter(|url| !url.is_empty()) {
        Some(url) => at_url(url, override_path, defaults)?,
        None => defaults.own_host(registry),
    };
    if let Some(item) = table.get("capabilities") {
        host.capabilities = capabilities(item)?;
    }
    host.tls.authorities.extend(authorities(table.get("ca"), dir)?);
    host.tls.client.extend(client(table.get("client"), dir)?);
    if let Some(item) = table.get("skip_verify") {
        host.tls.skip_verify = item.as_bool().ok_or_else(|| invalid("skip_verify", "a boolean"))?;
    }
    if let Some(item) = table.get("header") {
        host.headers = headers(item)?;
    }
    if let Some(item) = table.get("dial_timeout") {
        host.dial_timeout = Some(duration(string(item, "dial_timeout")?)?);
    }
    Ok(host)
}

fn at_url(text: &str, override_path: bool, defaults: &Hosts) -> Result<Host> {
    let with_scheme = if text.starts_with("http") { text.to_owned() } else { format!("https://{text}") };
    let url = url::Url::parse(&with_scheme)
        .map_err(|error| Error::invalid_argument(format!("server {text:?} is not a URL")).caused_by(error))?;
    let name = url.host_str().ok_or_else(|| Error::invalid_argument(format!("server {text:?} names no host")))?;
    // The usual port is none to a URL, but named it says that no other is meant.
    let authority = match url.port().or_else(|| url.port_or_known_default().filter(|_| names_port(&with_scheme))) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    let mut host = defaults.host(url.scheme(), &authority);
    let path = url.path().trim_end_matches('/');
    host.path = if override_path || path.ends_with("/v2") { path.to_owned() } else { format!("{path}/v2") };
    Ok(host)
}

/// Whether the URL `text` has a port.
fn names_port(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    port_of(authority).is_some_and(|port| !port.is_empty())
}

fn capabilities(item: &Item) -> Result<Capabilities> {
    let mut found = Capabilities { pull: false, resolve: false, push: false, referrers: false };
    let names = strings(item.as_value(), "capabilities")?;
    if names.is_empty() {
        return Ok(Capabilities::ALL);
    }
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => found.push = true,
            "referrers" => found.referrers = true,
            _ => return Err(Error::invalid_argument(format!("unknown capability {name:?}"))),
        }
    }
    Ok(found)
}

/// A file, or several.
fn authorities(item: Option<&Item>, dir: &Path) -> Result<Vec<PathBuf>> {
    let Some(item) = item else { return Ok(Vec::new()) };
    match item.as_str() {
        Some(file) => Ok(vec![dir.join(file)]),
        None => Ok(strings(item.as_value(), "ca")?.into_iter().map(|file| dir.join(file)).collect()),
    }
}

/// A file, several, or several pairs of certificate and key.
fn client(item: Option<&Item>, dir: &Path) -> Result<Vec<(PathBuf, Option<PathBuf>)>> {
    let Some(item) = item else { return Ok(Vec::new()) };
    if let Some(file) = item.as_str() {
        return Ok(vec![(dir.join(file), None)]);
    }
    let list = item.as_array().ok_or_else(|| invalid("client", "a file, files, or pairs of files"))?;
    list.iter()
        .map(|entry| {
            if let Some(file) = entry.as_str() {
                return Ok((dir.join(file), None));
            }
            match strings(Some(entry), "client")?.as_slice() {
                [certificate, key] => Ok((dir.join(certificate), (!key.is_empty()).then(|| dir.join(key)))),
                _ => Err(invalid("client", "a certificate and a key in each pair")),
            }
        })
        .collect()
}

fn headers(item: &Item) -> Result<Vec<(String, String)>> {
    let table = item.as_table_like().ok_or_else(|| invalid("header", "a table"))?;
    let mut headers = Vec::new();
    for (name, value) in table.iter() {
        let key = format!("header.{name}");
        let values = match value.as_str() {
            Some(value) => vec![value.to_owned()],
            None => strings(value.as_value(), &key)?,
        };
        for value in values {
            // The value is not shown: it may be a secret.
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(&value).is_err() {
                return Err(invalid(&key, "a header as HTTP has them (RFC 9110, 5.5)"));
            }
            headers.push((name.to_owned(), value));
        }
    }
    Ok(headers)
}

fn string<'a>(item: &'a Item, key: &str) -> Result<&'a str> {
    item.as_str().ok_or_else(|| invalid(key, "a string"))
}

fn strings(value: Option<&Value>, key: &str) -> Result<Vec<String>> {
    let list = value.and_then(Value::as_array).ok_or_else(|| invalid(key, "a list of strings"))?;
    list.iter()
        .map(|entry| entry.as_str().map(str::to_owned).ok_or_else(|| invalid(key, "a list of strings")))
        .collect()
}

fn invalid(key: &str, expected: &str) -> Error {
    Error::invalid_argument(format!("{key} must be {expected}"))
}

/// A Go duration: numbers with units, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration> {
    let bad = || Error::invalid_argument(format!("dial_timeout {text:?} is not a duration such as \"5s\""));
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        total += number.parse::<f64>().map_err(|_| bad())? * scale;
        rest = tail;
    }
    if text.is_empty() { Err(bad()) } else { Duration::try_from_secs_f64(total).map_err(|_| bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Result<Vec<Host>> {
        parse(text, Path::new("/etc/hosts.d"), "example.org", &Hosts::default())
    }

    #[test]
    fn mirrors_come_in_the_order_written_and_the_server_last() {
        let found = hosts(
            r#"
            server = "https://upstream.example/prefix"
            [host."https://z.example"]
              capabilities = ["pull", "resolve"]
              ca = "z.pem"
              [host."https://z.example".header]
                x-one = "1"
                x-two = ["a", "b"]
            [host."http://a.example:8080/v2/mirror"]
              override_path = true
              client = [["c.pem", "k.pem"], ["d.pem", ""]]
              dial_timeout = "1m30s"
            "#,
        )
        .unwrap();
        let urls: Vec<String> = found.iter().map(Host::to_string).collect();
        assert_eq!(
            urls,
            ["https://z.example/v2", "http://a.example:8080/v2/mirror", "https://upstream.example/prefix/v2"]
        );
        assert_eq!(found[0].capabilities, Capabilities { push: false, referrers: false, ..Capabilities::ALL });
        assert_eq!(found[0].tls.authorities, [PathBuf::from("/etc/hosts.d/z.pem")]);
        assert_eq!(found[0].headers.len(), 3);
        assert_eq!(found[1].tls.client[0].1, Some(PathBuf::from("/etc/hosts.d/k.pem")));
        assert_eq!(found[1].tls.client[1].1, None);
        assert_eq!(found[1].dial_timeout, Some(Duration::from_secs(90)));
        assert_eq!((found[0].mirror, found[2].mirror), (true, false));
    }

    #[test]
    fn without_a_server_the_registry_itself_comes_last() {
        let found = hosts("[host.\"mirror.example\"]\nskip_verify = true").unwrap();
        assert_eq!(found[0].to_string(), "https://mirror.example/v2");
        assert!(found[0].tls.skip_verify && !found[1].tls.skip_verify);
        assert_eq!(found[1].to_string(), "https://example.org/v2");
    }

    #[test]
    fn a_port_that_is_named_is_kept() {
        for (server, authority, is_own) in [
            ("https://example.org:443", "example.org:443", true),
            ("http://example.org:80/v2", "example.org:80", true),
            ("http://example.org:443", "example.org:443", false),
            ("example.org:443", "example.org:443", true),
            ("https://example.org", "example.org", true),
            ("https://[::1]:443", "[::1]:443", false),
            ("https://[::1]", "[::1]", false),
            ("https://example.org/a:443", "example.org", true),
        ] {
            let host = hosts(&format!("server = \"{server}\"")).unwrap().remove(0);
            assert_eq!((host.authority.as_str(), host.is_of("example.org")), (authority, is_own), "{server}");
        }
        // TLS is not tried where plain HTTP is asked for by its port.
        let text = "server = \"http://r.example:80\"\nca = \"a\"";
        let text = text.to_owned() + "\n[host.\"http://s.example\"]\nca = \"a\"";
        let found = hosts(&text).unwrap();
        let schemes: Vec<_> = found.into_iter().map(|host| host.with_fallback().scheme).collect();
        assert_eq!(schemes, ["https", "http"]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (text, named) in [
            ("server = 5", "server"),
            ("[host.\"https://a\"]\ncapabilities = [\"fly\"]", "fly"),
            ("[host.\"https://a\"]\nca = 7", "ca"),
            ("[host.\"https://a\"]\nskip_verify = \"yes\"", "skip_verify"),
            ("[host.\"https://a\"]\ndial_timeout = \"soon\"", "soon"),
            ("[host.\"https://a\"]\nclient = [[\"one\"]]", "client"),
            ("[header]\n\"x y\" = \"1\"", "header.x y"),
            ("[header]\nx-a = [\"1\", \"2\\n3\"]", "header.x-a"),
            ("server = \"https://\"", "https://"),
            ("[host", "TOML"),
        ] {
            let error = hosts(text).unwrap_err();
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
    }
}
