//! A process of a container: its first one, or one that was executed in it later.

use client::{Client, Reply as _};
use model::Result;
use proto::api::containerd::services::tasks::v1::{
    CloseIoRequest, DeleteProcessRequest, DeleteTaskRequest, KillRequest, ResizePtyRequest, StartRequest, WaitRequest,
};

const SIGKILL: u32 = 9;

/// How to call a process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) container_id: String,
    /// Empty for the container's first process.
    pub(crate) exec_id: String,
}

impl Process {
    pub(crate) fn new(client: &Client, container_id: &str, exec_id: &str) -> Self {
        Self { client: client.clone(), container_id: container_id.to_owned(), exec_id: exec_id.to_owned() }
    }

    /// Starts it. Returns its pid.
    pub(crate) async fn start(&self) -> Result<u32> {
        let request = StartRequest { container_id: self.container_id.clone(), exec_id: self.exec_id.clone() };
        Ok(self.client.tasks().start(request).await.reply()?.pid)
    }

    /// Waits for its end. Returns its exit status.
    pub(crate) async fn wait(&self) -> Result<u32> {
        let request = WaitRequest { container_id: self.container_id.clone(), exec_id: self.exec_id.clone() };
        Ok(self.client.tasks().wait(request).await.reply()?.exit_status)
    }

    /// Sends a signal to it, or to every process of the container.
    pub(crate) async fn kill(&self, signal: u32, all: bool) -> Result<()> {
        let (container_id, exec_id) = (self.container_id.clone(), self.exec_id.clone());
        self.client.tasks().kill(KillRequest { container_id, exec_id, signal, all }).await.reply()
    }

    /// Tells its terminal how large it is.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let (container_id, exec_id) = (self.container_id.clone(), self.exec_id.clone());
        self.client.tasks().resize_pty(ResizePtyRequest { container_id, exec_id, width, height }).await.reply()
    }

    /// Lets it see the end of its input.
    pub(crate) async fn close_stdin(&self) -> Result<()> {
        let (container_id, exec_id) = (self.container_id.clone(), self.exec_id.clone());
        self.client.tasks().close_io(CloseIoRequest { container_id, exec_id, stdin: true }).await.reply()
    }

    /// Removes it once it has ended. Returns its exit status.
    pub(crate) async fn delete(&self) -> Result<u32> {
        let container_id = self.container_id.clone();
        let mut tasks = self.client.tasks();
        let reply = if self.exec_id.is_empty() {
            tasks.delete(DeleteTaskRequest { container_id }).await.reply()?
        } else {
            tasks.delete_process(DeleteProcessRequest { container_id, exec_id: self.exec_id.clone() }).await.reply()?
        };
        Ok(reply.exit_status)
    }

    /// Ends it by force, if need be, and removes it. One that is gone already is no error.
    pub(crate) async fn kill_and_delete(&self) -> Result<u32> {
        match self.kill(SIGKILL, self.exec_id.is_empty()).await {
            Ok(()) => {
                self.wait().await?;
            }
            // It has ended already, or never started.
            Err(error) if error.is_not_found() || error.kind() == model::Kind::FailedPrecondition => {}
            Err(error) => return Err(error),
        }
        self.delete().await
    }
}
