//! Flags that several commands share.

use clap::Args;
use client::oci::Platform;
use model::{Error, Labels, Result};

/// The runtime used unless told otherwise.
pub(crate) const RUNC: &str = "io.containerd.runc.v2";

/// Which snapshotter.
#[derive(Clone, Debug, Args)]
pub(crate) struct SnapshotterFlag {
    /// Snapshotter name. Empty value stands for the default value.
    #[arg(long, env = "CONTAINERD_SNAPSHOTTER", value_name = "NAME")]
    pub(crate) snapshotter: Option<String>,
}

impl SnapshotterFlag {
    pub(crate) fn name(&self) -> Option<&str> {
        self.snapshotter.as_deref()
    }
}

/// Which runtime, and its options.
#[derive(Clone, Debug, Args)]
pub(crate) struct RuntimeFlags {
    /// Runtime name or absolute path to runtime binary
    #[arg(long, default_value = RUNC, value_name = "NAME")]
    pub(crate) runtime: String,
    /// Optional runtime config path
    #[arg(long, value_name = "FILE")]
    pub(crate) runtime_config_path: Option<String>,
    /// Specify runc-compatible binary
    #[arg(long, value_name = "FILE")]
    pub(crate) runc_binary: Option<String>,
    /// Specify runc-compatible root
    #[arg(long, value_name = "DIR")]
    pub(crate) runc_root: Option<String>,
    /// Start runc with systemd cgroup manager
    #[arg(long)]
    pub(crate) runc_systemd_cgroup: bool,
}

impl RuntimeFlags {
    /// The options as the shim understands them. `cgroup` is where the container goes.
    pub(crate) fn options(&self, cgroup: Option<&str>) -> Result<Option<proto::Any>> {
        if self.runtime != RUNC {
            if self.runc_binary.is_some() || self.runc_systemd_cgroup {
                return Err(Error::invalid_argument(format!(
                    "specifying runc-binary and runc-systemd-cgroup is only supported for {RUNC:?} runtime"
                )));
            }
            let options = self.runtime_config_path.clone().map(|config_path| {
                client::any(&proto::api::runtimeoptions::v1::Options { config_path, ..Default::default() })
            });
            return Ok(options);
        }
        if self.runc_systemd_cgroup && cgroup.is_none_or(str::is_empty) {
            return Err(Error::invalid_argument(
                "option --runc-systemd-cgroup requires --cgroup to be set, e.g. \"machine.slice:foo:deadbeef\"",
            ));
        }
        Ok(Some(client::any(&proto::api::containerd::runc::v1::Options {
            binary_name: self.runc_binary.clone().unwrap_or_default(),
            root: self.runc_root.clone().unwrap_or_default(),
            systemd_cgroup: self.runc_systemd_cgroup,
            ..Default::default()
        })))
    }
}

/// The platforms whose images are carried, exactly: all of them, those named, or this machine's. None stands for all.
pub(crate) fn platforms(all: bool, named: &[String]) -> Result<Vec<Platform>> {
    match named {
        _ if all => Ok(Vec::new()),
        [] => Ok(vec![Platform::host()]),
        named => named.iter().map(|text| Platform::parse(text)).collect(),
    }
}

/// Labels to change.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabelArgs {
    /// Labels to set; an empty value clears one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl LabelArgs {
    pub(crate) fn get(&self) -> Labels {
        labels(&self.labels)
    }
}

/// `key=value` each; a mere `key` is `true`.
pub(crate) fn labels(texts: &[String]) -> Labels {
    let split = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), "true".to_owned()),
    };
    texts.iter().map(split).collect()
}

/// Labels in one line, sorted: `a=1,b=2`.
pub(crate) fn joined(labels: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    let mut pairs: Vec<String> =
        labels.into_iter().map(|(key, value)| format!("{}={}", key.as_ref(), value.as_ref())).collect();
    pairs.sort();
    pairs.join(",")
}

/// The same for a column of a table, which must not be empty.
pub(crate) fn joined_or_dash(labels: &Labels) -> String {
    if labels.is_empty() { "-".to_owned() } else { joined(labels) }
}

/// An argument that must be there.
pub(crate) fn required<'a>(text: Option<&'a String>, what: &str) -> Result<&'a str> {
    let text = text.filter(|text| !text.is_empty());
    text.map(String::as_str).ok_or_else(|| Error::invalid_argument(format!("{what} must be provided")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_those_named_or_this_machines() {
        let arm = ["linux/arm64".to_owned()];
        assert_eq!(platforms(false, &[]).unwrap(), [Platform::host()]);
        assert_eq!(platforms(false, &arm).unwrap(), [Platform::parse("arm64").unwrap()]);
        assert!(platforms(true, &arm).unwrap().is_empty());
        assert!(platforms(false, &["*".to_owned()]).is_err());
    }

    #[test]
    fn labels_are_split_at_the_first_sign() {
        let labels = labels(&["a=b=c".into(), "flag".into(), "empty=".into()]);
        assert_eq!(joined(&labels), "a=b=c,empty=,flag=true");
    }
}
