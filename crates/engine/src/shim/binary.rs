//! Running the shim binary: `start`, `delete` and `-info`.

use super::{
    bootstrap::{Bootstrap, Params, is_old, matter_to_start},
    runtime::Runtimes,
};
use crate::{EngineConfig, Exit, RuntimeInfo, bundle::Bundle};
use model::{Any, Error, Result};
use prost::Message;
use proto::{
    api::containerd::types,
    convert::{any_from_wire, any_to_wire, timestamp_from_wire},
    shim::containerd::task::v3 as wire,
};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time,
};

/// Most bytes taken of what a shim prints; the features of an OCI runtime are some 10 kB.
const MAX_OUTPUT: u64 = 1 << 20;

/// A shim binary, as the daemon of `config` calls it.
#[derive(Clone, Debug)]
pub(crate) struct Binary<'a> {
    pub(crate) path: PathBuf,
    pub(crate) config: &'a EngineConfig,
    pub(crate) runtimes: &'a Runtimes,
}

impl Binary<'_> {
    /// `<shim> start` for `bundle`: a shim runs when this returns, and says where.
    ///
    /// # Errors
    /// The shim's own words; `DeadlineExceeded` when it takes too long.
    pub(crate) async fn start(&self, bundle: &Bundle, options: Option<&Any>) -> Result<Bootstrap> {
        let params = Params { id: &bundle.id, namespace: &bundle.namespace, config: self.config, options };
        let input = match options {
            Some(options) if matter_to_start(options) && self.is_old().await => params.encode_old(),
            _ => params.encode(),
        };
        let mut command = self.command(bundle);
        command.envs(self.config.shim_env.iter().filter_map(|entry| split_env(entry))).arg("start");
        Bootstrap::parse(&run(command, &input, self.config.timeouts.start).await?)
    }

    /// `<shim> delete` for `bundle`: cleans up after a shim that is gone, and says how its task ended.
    ///
    /// # Errors
    /// The shim's own words; `DeadlineExceeded` when it takes longer than a clean-up may.
    pub(crate) async fn delete(&self, bundle: &Bundle) -> Result<Exit> {
        let mut command = self.command(bundle);
        command.arg("-bundle").arg(&bundle.path).arg("delete");
        let output = run(command, &[], self.config.timeouts.cleanup).await?;
        let response = wire::DeleteResponse::decode(output.as_slice())
            .map_err(|error| Error::unknown("malformed answer of shim delete").caused_by(error))?;
        let at = response.exited_at.map(|time| timestamp_from_wire(Some(time)));
        Ok(Exit { pid: response.pid, status: response.exit_status, at })
    }

    /// `<shim> -info`: what the shim and its OCI runtime can do.
    ///
    /// # Errors
    /// The shim's own words; `DeadlineExceeded` when it takes too long.
    pub(crate) async fn info(&self, options: Option<&Any>) -> Result<RuntimeInfo> {
        let mut command = Command::new(&self.path);
        command.arg("-info");
        let input = options.map(|any| any_to_wire(any.clone()).encode_to_vec()).unwrap_or_default();
        let output = run(command, &input, self.config.timeouts.start)
            .await
            .map_err(|error| error.context(format!("failed to run {} -info", self.path.display())))?;
        let info = types::RuntimeInfo::decode(output.as_slice()).map_err(|error| {
            Error::unknown(format!("malformed answer of {} -info", self.path.display())).caused_by(error)
        })?;
        let version = info.version.unwrap_or_default();
        Ok(RuntimeInfo {
            name: info.name,
            version: version.version,
            revision: version.revision,
            options: info.options.map(any_from_wire),
            features: info.features.map(any_from_wire),
            annotations: info.annotations,
        })
    }

    /// Whether the shim predates the params; one that does not say is taken for new.
    async fn is_old(&self) -> bool {
        if let Some(old) = self.runtimes.is_old(&self.path) {
            return old;
        }
        let old = match self.info(None).await {
            Ok(info) => is_old(&info.version),
            Err(error) => {
                tracing::debug!(shim = %self.path.display(), %error, "shim does not say its version");
                false
            }
        };
        self.runtimes.remember_old(&self.path, old);
        old
    }

    fn command(&self, bundle: &Bundle) -> Command {
        let config = self.config;
        let mut command = Command::new(&self.path);
        command
            .args(["-namespace", &bundle.namespace, "-address", &config.address, "-publish-binary"])
            .arg(&config.publish_binary)
            .args(["-id", &bundle.id])
            .args(config.debug.then_some("-debug"))
            .current_dir(&bundle.path)
            .env("GOMAXPROCS", "2")
            .env("MAX_SHIM_VERSION", "2")
            .env("TTRPC_ADDRESS", &config.ttrpc_address)
            .env("GRPC_ADDRESS", &config.address)
            .env("NAMESPACE", &bundle.namespace);
        command
    }
}

/// `NAME=value` in two.
fn split_env(entry: &std::ffi::OsStr) -> Option<(&std::ffi::OsStr, &std::ffi::OsStr)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = entry.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=')?;
    Some((std::ffi::OsStr::from_bytes(&bytes[..equals]), std::ffi::OsStr::from_bytes(&bytes[equals + 1..])))
}

/// Runs `command` in a process group of its own, so that no signal of ours reaches what it leaves
/// running; gives what it printed. A command that takes too long is killed.
async fn run(mut command: Command, input: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = PathBuf::from(command.as_std().get_program());
    let mut child = command.spawn().map_err(|error| Error::io(format!("run {}", program.display()), error))?;
    match time::timeout(timeout, converse(&mut child, input)).await {
        Ok(result) => result.map_err(|error| Error::io(format!("run {}", program.display()), error))?,
        Err(_) => {
            // The wait reaps; it is as short as the kill is certain.
            let _ended = child.kill().await;
            let message = format!("{} did not end in {timeout:?} and was killed", program.display());
            Err(Error::deadline_exceeded(message))
        }
    }
}

async fn converse(child: &mut Child, input: &[u8]) -> std::io::Result<Result<Vec<u8>>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A shim need not read its input.
            let _unread = stdin.write_all(input).await;
        }
    };
    let (status, (), output, errors) = tokio::join!(child.wait(), write, read(stdout), read(stderr));
    let status = status?;
    if status.success() {
        return Ok(Ok(output));
    }
    let words = String::from_utf8_lossy(if errors.trim_ascii().is_empty() { &output } else { &errors });
    let words = words.trim();
    let message = if words.is_empty() { status.to_string() } else { format!("{words}: {status}") };
    Ok(Err(Error::unknown(message)))
}

/// Reads to the end, keeping [`MAX_OUTPUT`]; the rest is read and dropped, so that nobody blocks.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(pipe) = pipe {
        let mut limited = pipe.take(MAX_OUTPUT);
        let _until_error = limited.read_to_end(&mut output).await;
        let _rest = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
    }
    output
}
