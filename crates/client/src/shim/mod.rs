//! The Task service of a shim, version 2 or 3: the same messages under two names, over ttrpc or gRPC.

mod connection;
mod grpc;

pub(crate) use connection::closed;
pub use connection::{Connection, Method, Protocol, is_closed};

use model::{Error, Result};
use proto::{api::containerd::types, shim::containerd::task::v3 as wire};
use std::{sync::Arc, time::Duration};

const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// A shim's tasks of one namespace, over a connection that other clients may share.
#[derive(Clone, Debug)]
pub struct TaskClient {
    connection: Arc<Connection>,
    service: &'static str,
    namespace: String,
}

impl TaskClient {
    /// Speaks `version` of the service over `connection`.
    ///
    /// # Errors
    /// `Unimplemented` for a version other than 2 and 3, over gRPC for one other than 3.
    pub fn new(connection: Arc<Connection>, version: u32, namespace: impl Into<String>) -> Result<Self> {
        let service = match (version, connection.protocol()) {
            (2, Protocol::Ttrpc) => SERVICES[0],
            (3, _) => SERVICES[1],
            (_, protocol) => {
                return Err(Error::unimplemented(format!("unsupported shim version ({version}) over {protocol}")));
            }
        };
        Ok(Self { connection, service, namespace: namespace.into() })
    }

    /// The same over version 2 of the service, unless it is that already. Pod shims that an old
    /// containerd started speak 2 where a newer binary of theirs says 3.
    pub fn downgraded(&self) -> Option<Self> {
        let is_newest = self.service == SERVICES[1] && self.connection.protocol() == Protocol::Ttrpc;
        is_newest.then(|| Self { service: SERVICES[0], ..self.clone() })
    }

    /// The connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $function:ident = $name:literal: $request:path => $response:ty;)*) => {
        impl TaskClient {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The shim's, or those of [`Connection::call`].
                pub async fn $function(&self, request: &$request, timeout: Option<Duration>) -> Result<$response> {
                    let method = Method { service: self.service, name: $name };
                    self.connection.call(method, &self.namespace, request, timeout).await
                }
            )*
        }
    };
}

methods! {
    /// A process's state.
    state = "State": wire::StateRequest => wire::StateResponse;
    /// Creates a container.
    create = "Create": wire::CreateTaskRequest => wire::CreateTaskResponse;
    /// Starts a created process.
    start = "Start": wire::StartRequest => wire::StartResponse;
    /// Deletes a stopped process.
    delete = "Delete": wire::DeleteRequest => wire::DeleteResponse;
    /// The processes in a container.
    pids = "Pids": wire::PidsRequest => wire::PidsResponse;
    /// Freezes a container.
    pause = "Pause": wire::PauseRequest => ();
    /// Thaws a container.
    resume = "Resume": wire::ResumeRequest => ();
    /// Checkpoints a container into a folder.
    checkpoint = "Checkpoint": wire::CheckpointTaskRequest => ();
    /// Signals a process.
    kill = "Kill": wire::KillRequest => ();
    /// Adds a process to a container.
    exec = "Exec": wire::ExecProcessRequest => ();
    /// Sets a terminal's size.
    resize_pty = "ResizePty": wire::ResizePtyRequest => ();
    /// Closes a process's standard input.
    close_io = "CloseIO": wire::CloseIoRequest => ();
    /// Changes resource limits.
    update = "Update": wire::UpdateTaskRequest => ();
    /// Waits for a process to end.
    wait = "Wait": wire::WaitRequest => wire::WaitResponse;
    /// Resource usage.
    stats = "Stats": wire::StatsRequest => wire::StatsResponse;
    /// The shim's own pid and the task's.
    connect = "Connect": wire::ConnectRequest => wire::ConnectResponse;
    /// Ends the shim, unless it has other containers.
    shutdown = "Shutdown": wire::ShutdownRequest => ();
}

/// A mount as the shim is told of it.
pub fn mount(mount: model::Mount) -> types::Mount {
    types::Mount { r#type: mount.fs_type, source: mount.source, target: mount.target, options: mount.options }
}
