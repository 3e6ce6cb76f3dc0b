//! `ctr hosts check`

use super::attempt::{Attempt, attempt};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Table, line, print_json};
use crate::registry::{Known, RegistryFlags, Shown, dump, reference};
use clap::Args;
use distribution::{Capabilities, Host, Hosts, Reference};
use model::Result;
use serde_json::{Value, json};
use std::path::Path;

/// Looked into unless `--hosts-dir` says otherwise: where containerd's CRI and nerdctl look.
const DEFAULT_DIRS: &[&str] = &["/etc/containerd/certs.d", "/etc/docker/certs.d"];

/// Flags of `ctr hosts check`.
#[derive(Debug, Args)]
#[command(long_about = "Tell which hosts would serve an image, in which order, with which certificates and \
    credentials, and which files decided that. Then each is asked for the image, unless --offline is given.\n\n\
    The daemon need not run. `images pull` looks into the folders of --hosts-dir only if it is told to, or if the \
    daemon's configuration says so (config_path).")]
pub(crate) struct Check {
    #[command(flatten)]
    registry: RegistryFlags,
    /// Ask nobody
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: Output,
    /// The image's full name
    image: String,
}

/// One host, and what became of the attempt.
struct Line {
    host: Host,
    credential: Result<Option<Shown>>,
    attempt: Option<Attempt>,
}

impl Line {
    fn is_found(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.digest().is_some())
    }
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        dump::warnings();
        self.registry.start_dump();
        let remote = reference(&self.image)?;
        let hosts = self.registry.hosts(DEFAULT_DIRS)?;
        context.debug(&format!("folders: {:?}", hosts.dirs));
        let known = self.registry.credentials()?;
        let lines = self.lines(&remote, hosts.of(&remote.registry)?, &known).await;
        let why = decided_by(&hosts, &remote.registry);
        if self.output.is_json() {
            print_json(&document(&remote, &why, &lines))?;
        } else {
            line(format!("{}: {why}", remote.registry))?;
            table(&lines)?;
            self.conclude(&remote, &lines)?;
        }
        let served = lines.iter().any(Line::is_found);
        Failure::when(!self.offline && !served)
    }

    /// Each host in turn, as a pull would ask it.
    async fn lines(&self, remote: &Reference, hosts: Vec<Host>, known: &Known) -> Vec<Line> {
        let mut lines = Vec::new();
        for host in hosts {
            let credential = known.shown_to(&host.authority).await;
            let attempt = if self.offline { None } else { Some(attempt(remote, &host, known, None).await) };
            lines.push(Line { host, credential, attempt });
        }
        // Those that know no tags are asked for the digest that another has told.
        let digest = lines.iter().find_map(|line| line.attempt.as_ref()?.digest().map(str::to_owned));
        for line in &mut lines {
            if digest.is_some() && matches!(line.attempt, Some(Attempt::NotAsked(_))) {
                line.attempt = Some(attempt(remote, &line.host, known, digest.as_deref()).await);
            }
        }
        lines
    }

    /// Says in words what the table shows.
    fn conclude(&self, remote: &Reference, lines: &[Line]) -> Outcome {
        let first = |able: fn(&Capabilities) -> bool| {
            lines.iter().find(|line| able(&line.host.capabilities) && (self.offline || line.is_found()))
        };
        match (first(|can| can.resolve), first(|can| can.pull)) {
            _ if self.offline => {}
            // Nothing is to be resolved.
            (_, Some(pulled)) if remote.digest.is_some() => line(format!("a pull is served by {}", pulled.host))?,
            (Some(resolved), Some(pulled)) if resolved.host == pulled.host => {
                line(format!("a pull is served by {}", pulled.host))?;
            }
            (Some(resolved), Some(pulled)) => {
                line(format!("a pull is served by {}, after {} has resolved the tag", pulled.host, resolved.host))?;
            }
            (None, Some(pulled)) => line(format!("a pull by digest is served by {}", pulled.host))?,
            (_, None) => line("a pull would fail: no host serves this image")?,
        }
        match lines.iter().find(|line| line.host.capabilities.push) {
            Some(first) => line(format!("a push goes to {}", first.host)),
            None => line("a push would fail: no host may be pushed to"),
        }
    }
}

/// Which file, or the want of one, made the list of hosts what it is.
fn decided_by(hosts: &Hosts, registry: &str) -> String {
    let dirs = || hosts.dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    let Some(folder) = hosts.folder_of(registry) else {
        return format!("no folder for it in {}: the registry itself", dirs());
    };
    let file = folder.join("hosts.toml");
    let is_filled = std::fs::read_to_string(&file).is_ok_and(|text| !text.trim().is_empty());
    match is_filled {
        true => format!("as {} says", file.display()),
        false => format!("the registry itself, with the certificates in {}", folder.display()),
    }
}

fn table(lines: &[Line]) -> Outcome {
    let mut table = Table::narrow();
    table.row(["ORDER", "HOST", "ROLE", "CAPABILITIES", "TLS", "CREDENTIAL", "RESULT"]);
    for (index, Line { host, credential, attempt }) in lines.iter().enumerate() {
        let credential = match credential {
            Ok(None) => "none".to_owned(),
            Ok(Some(Shown { what, source })) => format!("{what} ({source})"),
            Err(error) => format!("error: {error}"),
        };
        let result = attempt.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let order = (index + 1).to_string();
        table.row([
            &order,
            &host.to_string(),
            role(host),
            &capabilities(host).join(","),
            &tls(host),
            &credential,
            &result,
        ]);
    }
    table.print()
}

fn role(host: &Host) -> &'static str {
    if host.mirror { "mirror" } else { "registry" }
}

fn capabilities(host: &Host) -> Vec<&'static str> {
    let Capabilities { pull, resolve, push, referrers } = host.capabilities;
    let all = [(pull, "pull"), (resolve, "resolve"), (push, "push"), (referrers, "referrers")];
    all.into_iter().filter_map(|(can, name)| can.then_some(name)).collect()
}

/// How the host proves who it is, and we who we are.
fn tls(host: &Host) -> String {
    if host.scheme == "http" {
        return "off".to_owned();
    }
    let mut parts = Vec::new();
    if host.tls.skip_verify {
        parts.push("not verified".to_owned());
    }
    let show = |path: &Path| path.display().to_string();
    parts.extend(host.tls.authorities.iter().map(|file| format!("ca {}", show(file))));
    parts.extend(host.tls.client.iter().map(|(certificate, _)| format!("client {}", show(certificate))));
    if parts.is_empty() {
        parts.push("system's authorities".to_owned());
    }
    if host.http_fallback {
        parts.push("else plain HTTP".to_owned());
    }
    parts.join(", ")
}

fn document(remote: &Reference, why: &str, lines: &[Line]) -> Value {
    let hosts = lines.iter().map(|Line { host, credential, attempt }| {
        let credential = match credential {
            Ok(None) => Value::Null,
            Ok(Some(Shown { what, source })) => json!({"kind": what, "source": source}),
            Err(error) => json!({"error": error.to_string()}),
        };
        json!({
            "url": host.to_string(),
            "role": role(host),
            "capabilities": capabilities(host),
            "skipVerify": host.tls.skip_verify,
            "authorities": host.tls.authorities,
            "client": host.tls.client.iter().map(|(certificate, key)| json!({"certificate": certificate, "key": key}))
                .collect::<Vec<_>>(),
            "httpFallback": host.http_fallback,
            "credential": credential,
            "result": attempt.as_ref().map(Attempt::document),
        })
    });
    json!({
        "registry": remote.registry,
        "repository": remote.repository,
        "object": remote.object().ok(),
        "decidedBy": why,
        "hosts": hosts.collect::<Vec<_>>(),
    })
}
