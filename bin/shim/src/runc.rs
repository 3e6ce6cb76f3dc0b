//! The command lines of runc (crun and youki take the same), and what its log says.

use crate::options::Stored;
use serde::Deserialize;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where runc keeps its state, one directory per containerd namespace below it.
const ROOT: &str = "/run/containerd/runc";

/// Of its log only this much is read back.
const LOG_LIMIT: u64 = 1 << 20;

/// How to call the runtime for one container.
#[derive(Clone, Debug)]
pub(crate) struct Runc {
    binary: String,
    root: PathBuf,
    bundle: PathBuf,
    systemd_cgroup: bool,
}

impl Runc {
    /// The runtime for the container of `bundle` in `namespace`.
    pub(crate) fn new(options: &Stored, namespace: &str, bundle: &Path) -> Self {
        let root = if options.root.is_empty() { ROOT } else { &options.root };
        let binary = if options.binary_name.is_empty() { "runc" } else { &options.binary_name };
        Self {
            binary: binary.to_owned(),
            root: Path::new(root).join(namespace),
            bundle: bundle.to_owned(),
            systemd_cgroup: options.systemd_cgroup,
        }
    }

    /// A command with the global flags; it still needs its own arguments and stdio.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).arg("--log").arg(self.log()).args(["--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        // Our own working directory may be gone by now: a group outlives its first bundle.
        command.current_dir(&self.bundle).env_remove("NOTIFY_SOCKET");
        command
    }

    /// The binary's name, as errors show it.
    pub(crate) fn binary(&self) -> &str {
        &self.binary
    }

    fn log(&self) -> PathBuf {
        self.bundle.join("log.json")
    }

    /// The end of the log now, to tell later lines from earlier ones.
    pub(crate) fn log_position(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// The last error logged behind `position`.
    pub(crate) fn logged_error(&self, position: u64) -> Option<String> {
        let mut file = fs::File::open(self.log()).ok()?;
        file.seek(SeekFrom::Start(position)).ok()?;
        let mut text = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut text).ok()?;
        last_error(&text)
    }
}

fn last_error(log: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    serde_json::Deserializer::from_slice(log)
        .into_iter::<Line>()
        .map_while(Result::ok)
        .filter(|line| line.level == "error")
        .last()
        .map(|line| line.msg.trim().to_owned())
        .filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_in_runcs_order() {
        let options = Stored { root: "/r".into(), binary_name: "crun".into(), systemd_cgroup: true };
        let command = Runc::new(&options, "ns", Path::new("/b")).command();
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(command.get_program(), "crun");
        let expected = ["--root", "/r/ns", "--log", "/b/log.json", "--log-format", "json", "--systemd-cgroup"];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn the_last_error_behind_a_position_counts() {
        let dir = tempfile::tempdir().unwrap();
        let runc = Runc::new(&Stored::default(), "ns", dir.path());
        assert_eq!(runc.logged_error(runc.log_position()), None);
        let line = |level: &str, msg: &str| format!("{{\"level\":\"{level}\",\"msg\":\"{msg}\",\"time\":\"t\"}}\n");
        fs::write(runc.log(), line("error", "old")).unwrap();
        let position = runc.log_position();
        assert_eq!(runc.logged_error(position), None);
        let more = line("error", "old") + &line("error", " new \\n") + &line("warning", "w") + "{\"lev";
        fs::write(runc.log(), more).unwrap();
        assert_eq!(runc.logged_error(position).as_deref(), Some("new"));
        assert_eq!(runc.logged_error(0).as_deref(), Some("new"));
    }
}
