//! `Checkpoint`: through `runc checkpoint`, which needs CRIU on the host.

use super::State;
use crate::log;
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use prost::Message as _;
use proto::api::containerd::runc::v1::CheckpointOptions;
use proto::shim::containerd::task::v3::CheckpointTaskRequest;
use std::path::{Path, PathBuf};

impl Shim {
    pub(super) fn checkpoint(&mut self, reply: Reply, request: CheckpointTaskRequest) -> Result<()> {
        self.container(&request.id)?;
        let options = request.options.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
        let options = CheckpointOptions::decode(options)
            .map_err(|error| Error::invalid_argument("checkpoint options").caused_by(error))?;
        let id = request.id.clone();
        self.lock(&id, move |shim| shim.run_checkpoint(reply, request.id, &request.path, &options));
        Ok(())
    }

    fn run_checkpoint(&mut self, reply: Reply, id: String, image: &str, options: &CheckpointOptions) {
        let allowed = self.container(&id).and_then(|container| match container.init.state {
            State::Running | State::Paused => Ok((container.runc.clone(), container.bundle.clone())),
            State::Created | State::Restorable => Err(Error::unknown("cannot checkpoint a task in created state")),
            State::Stopped => Err(Error::unknown("cannot checkpoint a stopped container")),
        });
        let (runc, bundle) = match allowed {
            Ok(allowed) => allowed,
            Err(error) => {
                self.unlock(&id);
                return self.respond::<()>(reply, Err(error));
            }
        };
        // CRIU's own files are kept only where the client asked for them.
        let (work, is_ours) = match options.work_path.as_str() {
            "" => (bundle.join("work/criu-work"), true),
            path => (PathBuf::from(path), false),
        };
        let mut command = runc.command();
        command.arg("checkpoint").args(arguments(image, &work, options)).arg(&id);
        self.call(command, reply.deadline, move |shim, result| {
            let result = result.map_err(|error| {
                let dump = bundle.join("criu-dump.log");
                if let Err(error) = std::fs::copy(work.join("dump.log"), &dump) {
                    log::warning!("{id}: keep dump.log: {error}");
                }
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                Error::unknown(format!("{first} path= {}", dump.display()))
            });
            if is_ours {
                // It was never made if CRIU did not come that far.
                let _absent = std::fs::remove_dir_all(&work);
            }
            shim.unlock(&id);
            shim.respond(reply, result);
        });
    }
}

fn arguments(image: &str, work: &Path, options: &CheckpointOptions) -> Vec<String> {
    let mut arguments = Vec::new();
    if !image.is_empty() {
        arguments.extend(["--image-path".to_owned(), image.to_owned()]);
    }
    arguments.extend(["--work-path".to_owned(), work.to_string_lossy().into_owned()]);
    if !options.parent_path.is_empty() {
        arguments.extend(["--parent-path".to_owned(), options.parent_path.clone()]);
    }
    let switches = [
        (options.open_tcp, "--tcp-established"),
        (options.external_unix_sockets, "--ext-unix-sk"),
        (options.terminal, "--shell-job"),
        (options.file_locks, "--file-locks"),
    ];
    arguments.extend(switches.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
    for namespace in &options.empty_namespaces {
        arguments.extend(["--empty-ns".to_owned(), namespace.clone()]);
    }
    if !options.exit {
        arguments.push("--leave-running".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags() {
        let options = CheckpointOptions {
            exit: true,
            open_tcp: true,
            empty_namespaces: vec!["network".into()],
            ..CheckpointOptions::default()
        };
        let expected = ["--image-path", "/i", "--work-path", "/w", "--tcp-established", "--empty-ns", "network"];
        assert_eq!(arguments("/i", Path::new("/w"), &options), expected);
        assert_eq!(arguments("", Path::new("/w"), &CheckpointOptions::default()).last().unwrap(), "--leave-running");
    }
}
