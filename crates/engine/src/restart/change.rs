//! What the monitor does to a container: stop its task, or start it anew.

use super::labels::{COUNT, Wishes};
use crate::{CreateTask, Engine, ProcessId, Stdio, tasks::blocking};
use model::{Container, Error, FieldMask, Mount, Result, Scope};
use serde::Deserialize;
use std::time::Duration;
use store::Store;
use tokio::time;

/// `SIGKILL`.
const KILL: u32 = 9;
/// How long a killed container may take to end. One stuck in the kernel is tried again later.
const DYING: Duration = Duration::from_secs(30);

/// The fields of a runtime spec that a new task depends on. All are optional: the runtime judges the spec.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    process: Process,
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    terminal: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    mount_label: String,
}

/// Kills and deletes the container's task; none is as good.
///
/// # Errors
/// When its shim does not answer, or the task does not end.
pub(super) async fn stop(engine: &Engine, scope: &Scope, id: &str) -> Result<()> {
    let init = ProcessId::init(id);
    match engine.kill(scope, &init, KILL, true).await {
        Ok(()) => {
            let ended = time::timeout(DYING, engine.wait(scope, &init)).await;
            match ended.map_err(|_| Error::deadline_exceeded(format!("container {id} does not end")))? {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        // It has ended, or is gone. If neither, the deletion says so.
        Err(error) => tracing::debug!(container = id, %error, "kill before deletion"),
    }
    match engine.delete_task(scope, id).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Counts the restart in the container's label, then replaces its task by a running one.
///
/// # Errors
/// Those of the store and the shim. A task that was created and did not start is deleted.
pub(super) async fn start(engine: &Engine, store: &Store, scope: &Scope, container: Container) -> Result<()> {
    let task = new_task(store, scope, &container).await?;
    count(store, scope, &container).await?;
    stop(engine, scope, &container.id).await?;
    Box::pin(engine.create_task(scope, task)).await?;
    if let Err(error) = engine.start(scope, &ProcessId::init(&container.id)).await {
        if let Err(left) = stop(engine, scope, &container.id).await {
            tracing::warn!(container = container.id, error = %left, "task that did not start is left");
        }
        return Err(error);
    }
    Ok(())
}

/// Before the restart, so that one cut off by a crash counts too, and a limit holds.
async fn count(store: &Store, scope: &Scope, container: &Container) -> Result<()> {
    let count = Wishes(&container.labels).count().saturating_add(1);
    let update = Container {
        id: container.id.clone(),
        labels: [(COUNT.to_owned(), count.to_string())].into(),
        ..Container::default()
    };
    let (store, scope) = (store.clone(), scope.clone());
    blocking(move || store.update_container(&scope, update, &FieldMask(vec![format!("labels.{COUNT}")]))).await?;
    Ok(())
}

async fn new_task(store: &Store, scope: &Scope, container: &Container) -> Result<CreateTask> {
    let spec = container.spec.as_ref().map(|spec| serde_json::from_slice::<Spec>(&spec.value));
    let spec = spec.transpose().unwrap_or_default().unwrap_or_default();
    let mut rootfs = Vec::new();
    if !container.snapshot_key.is_empty() {
        let (store, owner) = (store.clone(), scope.clone());
        let (snapshotter, key) = (container.snapshotter.clone(), container.snapshot_key.clone());
        rootfs = blocking(move || store.snapshot_mounts(&owner, &snapshotter, &key)).await?;
    }
    relabel(&mut rootfs, &spec.linux.mount_label);
    let stdio = stdio(Wishes(&container.labels).log_uri(), spec.process.terminal);
    Ok(CreateTask { container: container.id.clone(), rootfs, stdio, ..CreateTask::default() })
}

/// The SELinux label that the spec wants on the root filesystem.
fn relabel(mounts: &mut [Mount], label: &str) {
    if !label.is_empty() {
        mounts.iter_mut().for_each(|mount| mount.options.push(format!("context={label:?}")));
    }
}

/// The streams go to the log, if there is one; a terminal has no stderr of its own.
fn stdio(log_uri: &str, terminal: bool) -> Stdio {
    let stderr = if terminal { "" } else { log_uri };
    Stdio {
        stdin: String::new(),
        stdout: log_uri.to_owned(),
        stderr: stderr.to_owned(),
        terminal: terminal && !log_uri.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_to_the_log_and_a_terminal_has_one() {
        assert_eq!(stdio("", false), Stdio::default());
        assert_eq!(stdio("", true), Stdio::default());
        let log = stdio("file:///l", false);
        assert_eq!((log.stdout.as_str(), log.stderr.as_str(), log.terminal), ("file:///l", "file:///l", false));
        let terminal = stdio("file:///l", true);
        assert_eq!((terminal.stdout.as_str(), terminal.stderr.as_str(), terminal.terminal), ("file:///l", "", true));
    }
}
