//! Image verifiers: programs of the host that are asked before an image is pulled or imported
//! (`io.containerd.image-verifier`).
//!
//! Each program of a folder, in the order of names, is run with the image's name and digest; its descriptor comes on
//! standard input. All must exit with 0. What a program writes is bounded, and so is its time.

use super::Transfers;
use client::oci::Descriptor;
use model::{Error, Kind, Result};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

/// Most bytes of a program's output that are looked at.
const OUTPUT: u64 = 32 << 10;
/// The media type of what comes on standard input.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// Where the programs are, and their bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifiers {
    /// The folder. One that does not exist verifies nothing.
    pub bin_dir: PathBuf,
    /// Most programs run; negative: all of them.
    pub max: i64,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Verifiers {
    /// containerd's.
    fn default() -> Self {
        Self { bin_dir: "/opt/containerd/image-verifier/bin".into(), max: 10, timeout: Duration::from_secs(10) }
    }
}

impl Transfers {
    /// Asks the verifiers about image `name`, which is `target`, before its `pull` or `import`.
    ///
    /// # Errors
    /// `PermissionDenied` with a verifier's reason; `Unknown` if one gave no judgement: that stops the image as well.
    pub(super) async fn verify(&self, what: &str, name: &str, target: &Descriptor) -> Result<()> {
        let Some(verifiers) = &self.config.verifiers else { return Ok(()) };
        let digest = &target.digest;
        for program in verifiers.programs()? {
            let shown = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let asked = timeout(verifiers.timeout, ask(&program, name, target)).await;
            let asked = asked.unwrap_or_else(|_| {
                Err(Error::new(Kind::DeadlineExceeded, format!("no answer in {:?}", verifiers.timeout)))
            });
            let (code, said) = asked.map_err(|error| {
                Error::unknown(format!("blocking {what} of {name} with digest {digest}: image verifier {shown} failed"))
                    .caused_by(error)
            })?;
            if code != 0 {
                let reason = format!("verifier {shown} rejected image (exit code {code}): {said}");
                tracing::warn!(name, %digest, reason, "image verifier blocked {what}");
                return Err(Error::permission_denied(format!(
                    "image verifier bindir blocked {what} of {name} with digest {digest} for reason: {reason}"
                )));
            }
            tracing::debug!(name, %digest, verifier = shown, said, "image verifier allowed {what}");
        }
        Ok(())
    }
}

impl Verifiers {
    /// The programs to run, by name.
    fn programs(&self) -> Result<Vec<PathBuf>> {
        let failed = |error| Error::io(format!("list image verifiers in {}", self.bin_dir.display()), error);
        let entries = match fs::read_dir(&self.bin_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut programs: Vec<_> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(failed)?;
        programs.sort();
        let max = usize::try_from(self.max).unwrap_or(usize::MAX);
        if programs.len() > max {
            let (found, dir) = (programs.len(), self.bin_dir.display());
            tracing::warn!(%dir, found, max, "image verifiers are skipped: there are more than configured");
            programs.truncate(max);
        }
        Ok(programs)
    }
}

/// Runs `program`; its exit code and what it said.
async fn ask(program: &Path, name: &str, target: &Descriptor) -> Result<(i32, String)> {
    let failed = |what: &str| {
        let what = format!("{what} {}", program.display());
        move |error| Error::io(what, error)
    };
    let mut command = Command::new(program);
    command.args(["-name", name, "-digest", target.digest.as_str(), "-stdin-media-type", DESCRIPTOR]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed("start"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = serde_json::to_vec(target).map_err(|error| Error::internal("write a descriptor").caused_by(error))?;
    let feed = async {
        if let Some(mut stdin) = stdin {
            // One that does not read its input may well know what it wants.
            let _closed = stdin.write_all(&input).await;
        }
    };
    let ((), said, complaints) = tokio::join!(feed, read_some(stdout), read_some(stderr));
    for line in complaints.lines() {
        tracing::debug!(verifier = %program.display(), "{line}");
    }
    let status = child.wait().await.map_err(failed("wait for"))?;
    let code = status.code().ok_or_else(|| Error::unknown(format!("{} was killed: {status}", program.display())))?;
    Ok((code, said))
}

/// The begin of what `output` says; the rest is read and dropped, so that the program does not block.
async fn read_some(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else { return String::new() };
    let mut begin = Vec::new();
    let read = (&mut output).take(OUTPUT).read_to_end(&mut begin).await;
    let more = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    let mut text = String::from_utf8_lossy(&begin).trim().to_owned();
    if read.is_err() || more.is_ok_and(|more| more > 0) {
        text.push_str("(stdout truncated)");
    }
    text
}
