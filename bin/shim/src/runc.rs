//! The command lines of runc (crun and youki take the same), and what their logs say.

use crate::options::Stored;
use serde::Deserialize;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

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

    /// The log as it is now, to tell what a call adds to it.
    pub(crate) fn log_mark(&self) -> LogMark {
        let metadata = fs::metadata(self.log()).ok();
        LogMark {
            length: metadata.as_ref().map_or(0, fs::Metadata::len),
            modified: metadata.and_then(|metadata| metadata.modified().ok()),
        }
    }

    /// The last error logged since `mark`.
    pub(crate) fn logged_error(&self, mark: LogMark) -> Option<String> {
        if self.log_mark() == mark {
            return None;
        }
        last_error(&self.logged_since(mark).ok()?)
    }

    /// runc and crun append to the log; youki writes over it from its start, and what it does not reach stays.
    fn logged_since(&self, mark: LogMark) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(self.log())?;
        if let Some(before) = mark.length.checked_sub(1) {
            file.seek(SeekFrom::Start(before))?;
            let mut end = [0];
            let is_appended = file.read(&mut end)? == 1 && end == *b"\n" && file.metadata()?.len() > mark.length;
            if !is_appended {
                file.seek(SeekFrom::Start(0))?;
            }
        }
        let mut text = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// See [`Runc::log_mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogMark {
    length: u64,
    modified: Option<SystemTime>,
}

/// The last of the lines up to the first that is none.
fn last_error(log: &[u8]) -> Option<String> {
    /// runc and crun say `error` and `msg`, youki `ERROR` and `message`.
    #[derive(Deserialize)]
    struct Line {
        level: String,
        #[serde(alias = "message", default)]
        msg: String,
    }
    serde_json::Deserializer::from_slice(log)
        .into_iter::<Line>()
        .map_while(Result::ok)
        .filter(|line| line.level.eq_ignore_ascii_case("error"))
        .last()
        .map(|line| line.msg.trim().to_owned())
        .filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

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
        let start = runc.log_mark();
        assert_eq!(runc.logged_error(start), None);
        let line = |level: &str, msg: &str| format!("{{\"level\":\"{level}\",\"msg\":\"{msg}\",\"time\":\"t\"}}\n");
        fs::write(runc.log(), line("error", "old")).unwrap();
        let mark = runc.log_mark();
        assert_eq!(runc.logged_error(mark), None);
        let more = line("error", "old") + &line("error", " new \\n") + &line("warning", "w") + "{\"lev";
        fs::write(runc.log(), more).unwrap();
        assert_eq!(runc.logged_error(mark).as_deref(), Some("new"));
        assert_eq!(runc.logged_error(start).as_deref(), Some("new"));
    }

    #[test]
    fn a_log_written_over_from_its_start_is_read_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let runc = Runc::new(&Stored::default(), "ns", dir.path());
        let line = |message: &str| format!("{{\"timestamp\":\"t\",\"level\":\"ERROR\",\"message\":\"{message}\"}}\n");
        let overwrite = |text: &str| {
            // As of a moment that the clock of files can tell from this one.
            let earlier = SystemTime::now() - std::time::Duration::from_secs(1);
            let file = fs::File::options().create(true).truncate(false).write(true).open(runc.log()).unwrap();
            file.set_modified(earlier).unwrap();
            let mark = runc.log_mark();
            (&file).write_all(text.as_bytes()).unwrap();
            runc.logged_error(mark)
        };
        assert_eq!(overwrite(&line("the first of them")).as_deref(), Some("the first of them"));
        assert_eq!(overwrite(&line("shorter")).as_deref(), Some("shorter"));
        assert_eq!(overwrite(&line("shorter")).as_deref(), Some("shorter"));
        assert_eq!(overwrite(&line("much longer than any before")).as_deref(), Some("much longer than any before"));
        assert_eq!(overwrite(""), None);
    }
}
