//! `containerd oci-hook`: runs a program as an OCI hook with the container's state in its
//! arguments and environment, where they have templates such as `{{id}}`.

use model::{Error, Result};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Largest state document: runtimes write a few kilobytes.
const MAX_STATE: u64 = 4 << 20;

/// A program and its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct OciHook {
    /// The program and its arguments; {{id}}, {{bundle}}, {{rootfs}}, {{pid}}, {{status}} and
    /// {{annotation "key"}} are filled in
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// What a runtime tells a hook (OCI runtime spec, "State").
#[derive(Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    bundle: PathBuf,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    root: Option<Root>,
}

#[derive(Debug, Deserialize)]
struct Root {
    path: PathBuf,
}

impl OciHook {
    /// Becomes the program; returns only if that fails.
    pub(super) fn run(self) -> Result<()> {
        let context = Context::read()?;
        let arguments = self.command.iter().map(|argument| context.fill(argument)).collect::<Result<Vec<_>>>()?;
        let Some((program, arguments)) = arguments.split_first() else {
            return Err(Error::invalid_argument("oci-hook needs a program"));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in env::vars_os() {
            if let Some(text) = value.to_str().filter(|text| text.contains("{{")) {
                command.env(name, context.fill(text)?);
            }
        }
        Err(Error::io(format!("execute {program}"), command.exec()))
    }
}

/// What templates can ask for.
struct Context {
    state: State,
    rootfs: PathBuf,
}

impl Context {
    fn read() -> Result<Self> {
        let mut text = Vec::new();
        io::stdin()
            .take(MAX_STATE)
            .read_to_end(&mut text)
            .map_err(|error| Error::io("read container state from standard input", error))?;
        let state: State = serde_json::from_slice(&text)
            .map_err(|error| Error::invalid_argument(format!("container state on standard input: {error}")))?;
        let path = state.bundle.join("config.json");
        let spec = File::open(&path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        let spec: Spec = serde_json::from_reader(io::BufReader::new(spec))
            .map_err(|error| Error::invalid_argument(format!("{}: {error}", path.display())))?;
        let root = spec.root.map_or_else(PathBuf::new, |root| root.path);
        let rootfs = if root.is_absolute() { root } else { state.bundle.join(root) };
        Ok(Self { state, rootfs })
    }

    /// `text` with its templates replaced.
    fn fill(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after
                .split_once("}}")
                .ok_or_else(|| Error::invalid_argument(format!("template {text:?}: unclosed action")))?;
            out.push_str(before);
            out.push_str(&self.value(action.trim(), text)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, action: &str, text: &str) -> Result<String> {
        let shown = |path: &Path| path.display().to_string();
        Ok(match action {
            "id" => self.state.id.clone(),
            "bundle" => shown(&self.state.bundle),
            "rootfs" => shown(&self.rootfs),
            "pid" => self.state.pid.to_string(),
            "status" => self.state.status.clone(),
            _ => {
                let key = action.strip_prefix("annotation").map(str::trim).and_then(unquoted).ok_or_else(|| {
                    Error::invalid_argument(format!("template {text:?}: function {action:?} not defined"))
                })?;
                let annotations = self.state.annotations.as_ref();
                annotations.and_then(|annotations| annotations.get(key)).cloned().unwrap_or_default()
            }
        })
    }
}

/// A Go string without escapes: in double or back quotes.
fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('`')).filter(|inner: &&str| !inner.contains(['"', '\\', '`']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let annotations = Some([("a.b/c".to_owned(), "noted".to_owned())].into());
        let state = State { id: "c1".into(), status: "created".into(), pid: 42, bundle: "/b".into(), annotations };
        Context { state, rootfs: "/b/rootfs".into() }
    }

    #[test]
    fn templates_are_filled() {
        for (text, expected) in [
            ("plain", "plain"),
            ("--id={{id}}/{{ pid }}", "--id=c1/42"),
            ("{{bundle}}{{rootfs}}{{status}}", "/b/b/rootfscreated"),
            ("{{annotation \"a.b/c\"}}{{annotation `none`}}", "noted"),
        ] {
            assert_eq!(context().fill(text).unwrap(), expected);
        }
        for bad in ["{{id", "{{exec}}", "{{annotation}}", "{{annotation \"a}}"] {
            assert!(context().fill(bad).is_err(), "{bad}");
        }
    }
}
