//! The proxies of the environment, read as Go's programs read them.
//!
//! reqwest reads it as curl does, where an entry of `NO_PROXY` has neither a port nor a `*.`.

use ipnet::IpNet;
use reqwest::Url;
use std::net::IpAddr;
use url::Host;

/// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say (golang.org/x/net/http/httpproxy).
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// Hosts, at one port or any, that are reached without a proxy.
struct Direct {
    hosts: Names,
    port: Option<u16>,
}

enum Names {
    All,
    Network(IpNet),
    /// A name and those below it; with a dot in front only those below it.
    Domain(String),
}

impl Proxies {
    /// Those of this process. The names are looked for in upper case, then in lower case.
    pub(crate) fn of_environment() -> Self {
        Self::read(|name| {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase())).unwrap_or_default()
        })
    }

    fn read(variable: impl Fn(&str) -> String) -> Self {
        Self {
            http: proxy(&variable("HTTP_PROXY")),
            https: proxy(&variable("HTTPS_PROXY")),
            direct: variable("NO_PROXY").split(',').filter_map(Direct::parse).collect(),
        }
    }

    /// The proxy that `url` is asked through, if any. None is ever asked about this machine.
    pub(crate) fn of(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let (name, address) = match url.host()? {
            Host::Domain("localhost") => return None,
            Host::Domain(name) => (name, None),
            Host::Ipv4(address) => ("", Some(IpAddr::from(address))),
            Host::Ipv6(address) => ("", Some(IpAddr::from(address))),
        };
        let is_direct = address.is_some_and(|address| address.is_loopback())
            || self.direct.iter().any(|direct| direct.covers(name, address, url.port_or_known_default()));
        proxy.clone().filter(|_| !is_direct)
    }
}

/// A proxy's URL; one without a scheme speaks HTTP. A SOCKS proxy looks names up itself: often only it can.
fn proxy(text: &str) -> Option<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    text.replacen("socks5://", "socks5h://", 1).parse().ok()
}

impl Direct {
    /// `*`, `10.0.0.0/8`, `name`, `.name`, `*.name` or `address`, the last four with or without a port.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Self { hosts: Names::All, port: None });
        }
        let network = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        if let Some(network) = network(&entry) {
            return Some(Self { hosts: Names::Network(network), port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let domain =
            || Names::Domain(host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host).to_owned());
        let hosts = network(host).map_or_else(domain, Names::Network);
        (!host.is_empty()).then_some(Self { hosts, port })
    }

    fn covers(&self, name: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        let covers = match (&self.hosts, address) {
            (Names::All, _) => true,
            (Names::Network(network), Some(address)) => network.contains(&address),
            (Names::Domain(domain), None) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || domain.starts_with('.')),
            _ => false,
        };
        covers && (self.port.is_none() || self.port == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &str) -> Proxies {
        Proxies::read(|name| match name {
            "HTTP_PROXY" => "proxy.example:3128".into(),
            "HTTPS_PROXY" => "socks5://me:secret@socks.example".into(),
            _ => no_proxy.into(),
        })
    }

    fn of(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).map(String::from)
    }

    #[test]
    fn each_scheme_has_its_own_and_this_machine_none() {
        let proxies = proxies("");
        assert_eq!(of(&proxies, "http://a.example").unwrap(), "http://proxy.example:3128/");
        assert_eq!(of(&proxies, "https://a.example").unwrap(), "socks5h://me:secret@socks.example");
        for here in ["http://localhost:5000", "https://127.0.0.2", "http://[::1]:5000"] {
            assert_eq!(of(&proxies, here), None, "{here}");
        }
        let none = Proxies::read(|_| String::new());
        assert_eq!(of(&none, "https://a.example"), None);
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (no_proxy, url, direct) in [
            ("*", "https://a.example", true),
            ("b.example, a.example", "https://a.example", true),
            ("a.example", "https://x.a.example:5000", true),
            ("a.example", "https://xa.example", false),
            ("A.Example", "https://a.example", true),
            (".a.example", "https://x.a.example", true),
            (".a.example", "https://a.example", false),
            ("*.a.example", "https://x.a.example", true),
            ("*.a.example", "https://a.example", false),
            ("*a.example", "https://a.example", false),
            ("a.example:5000", "http://a.example:5000", true),
            ("a.example:5000", "http://a.example:5001", false),
            ("a.example:443", "https://a.example", true),
            ("10.0.0.0/8", "https://10.1.2.3:5000", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.1.2.3:80", "http://10.1.2.3", true),
            ("10.1.2.3:80", "https://10.1.2.3", false),
            ("2001:db8::1", "https://[2001:db8::1]:5000", true),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000", true),
            ("2001:db8::/32", "https://[2001:db8::2]", true),
            (",:80,a.example:b", "http://a.example", false),
        ] {
            assert_eq!(of(&proxies(no_proxy), url).is_none(), direct, "{no_proxy} {url}");
        }
    }
}
