//! The named pipes between a process and us.
//!
//! ```text
//! /run/containerd/fifo/<unique>/<id>-stdin   ctr writes, the shim reads
//!                               <id>-stdout  the shim writes, ctr reads
//!                               <id>-stderr  likewise; a terminal has none
//! ```
//! Both ends are opened without waiting for the other. Reading ends before the shim opens its own are not at their
//! end: the kernel reports a hang-up only after a writer has come and gone.

use model::{Error, Result};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tokio::net::unix::pipe;

/// Where pipes are made unless told otherwise.
pub(crate) const DEFAULT_FOLDER: &str = "/run/containerd/fifo";

/// What a process is connected to.
#[derive(Clone, Debug)]
pub(crate) enum Stdio {
    /// Nothing.
    Null,
    /// A logger (`binary://`, `file://`), for output only.
    Logger(String),
    /// Pipes in a new folder of this folder; with a terminal, or without.
    Pipes { folder: Option<String>, terminal: bool },
}

/// The paths a process was given.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    stdin: String,
    stdout: String,
    stderr: String,
    terminal: bool,
    /// The folder to remove in the end, if it is ours.
    folder: Option<PathBuf>,
}

/// Our ends of the pipes.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: Option<pipe::Receiver>,
    pub(super) stderr: Option<pipe::Receiver>,
}

impl Pipes {
    /// Makes what `stdio` needs for process `id`.
    pub(crate) fn create(stdio: &Stdio, id: &str) -> Result<Self> {
        match stdio {
            Stdio::Null => Ok(Self::default()),
            Stdio::Logger(uri) => {
                if !uri.contains("://") {
                    return Err(Error::invalid_argument(format!(
                        "log-uri {uri:?} has no scheme (file:///path or binary:///path)"
                    )));
                }
                Ok(Self::existing("", uri, uri, false))
            }
            Stdio::Pipes { folder, terminal } => {
                Self::in_folder(folder.as_deref().unwrap_or(DEFAULT_FOLDER), id, *terminal)
            }
        }
    }

    fn in_folder(base: &str, id: &str, terminal: bool) -> Result<Self> {
        let folder = Path::new(base).join(client::unique_part());
        let failed = |error| Error::io(format!("make pipes in {}", folder.display()), error);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let mut pipes = Self::existing("", "", "", terminal);
        pipes.folder = Some(folder.clone());
        let make = |name: &str| {
            let path = folder.join(format!("{id}-{name}"));
            mkfifoat(CWD, &path, Mode::from_raw_mode(0o700)).map_err(|errno| failed(errno.into()))?;
            Ok(path.to_string_lossy().into_owned())
        };
        pipes.stdin = make("stdin")?;
        pipes.stdout = make("stdout")?;
        if !terminal {
            pipes.stderr = make("stderr")?;
        }
        Ok(pipes)
    }

    /// The pipes that a process was given before, by somebody else.
    pub(crate) fn existing(stdin: &str, stdout: &str, stderr: &str, terminal: bool) -> Self {
        Self { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into(), terminal, folder: None }
    }

    pub(crate) fn stdin(&self) -> String {
        self.stdin.clone()
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.clone()
    }

    /// Whether the process gets a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Opens our ends. To be called before the shim is asked to open its own.
    pub(crate) fn open(&self) -> Result<Ends> {
        let is_pipe = |path: &String| !path.is_empty() && !path.contains("://");
        let failed = |path: &str| {
            let what = format!("open pipe {path}");
            move |error| Error::io(what, error)
        };
        // With a reader of our own the pipe opens at once, and takes what is written before the shim reads.
        let write = |path: &String| pipe::OpenOptions::new().read_write(true).open_sender(path).map_err(failed(path));
        let read = |path: &String| pipe::OpenOptions::new().open_receiver(path).map_err(failed(path));
        Ok(Ends {
            stdin: Some(&self.stdin).filter(|path| is_pipe(path)).map(write).transpose()?,
            stdout: Some(&self.stdout).filter(|path| is_pipe(path)).map(read).transpose()?,
            stderr: Some(&self.stderr).filter(|path| is_pipe(path)).map(read).transpose()?,
        })
    }

    /// Leaves the pipes to whoever attaches next.
    pub(crate) fn keep(mut self) {
        self.folder = None;
    }
}

/// Removes the pipes that a detached process left for whoever would attach; `stdout` is one of them. Only what has
/// the form of a folder of ours is touched.
pub(crate) fn remove_kept(stdout: &str) {
    let folder = Path::new(stdout).parent().filter(|folder| folder.parent() == Some(Path::new(DEFAULT_FOLDER)));
    if let Some(folder) = folder {
        // Best effort: names in the state directory, gone with the next boot.
        let _ = std::fs::remove_dir_all(folder);
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Nobody else needs it; what is left is only a name.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn output_of_a_process_that_dies_early_is_read_and_ended() {
        let base = tempfile::tempdir().unwrap();
        let stdio = Stdio::Pipes { folder: base.path().to_str().map(str::to_owned), terminal: false };
        let pipes = Pipes::create(&stdio, "x").unwrap();
        let ends = pipes.open().unwrap();
        // A writer that is gone before anybody reads.
        std::fs::OpenOptions::new().write(true).open(pipes.stdout()).unwrap();
        std::fs::write(pipes.stderr(), "last words").unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        ends.stdout.unwrap().read_to_string(&mut out).await.unwrap();
        ends.stderr.unwrap().read_to_string(&mut err).await.unwrap();
        assert_eq!((out.as_str(), err.as_str()), ("", "last words"));
        drop(pipes);
        assert_eq!(base.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_logger_needs_a_scheme() {
        assert!(Pipes::create(&Stdio::Logger("/tmp/x".into()), "x").is_err());
        assert_eq!(Pipes::create(&Stdio::Logger("file:///tmp/x".into()), "x").unwrap().stdout(), "file:///tmp/x");
    }
}
