//! Tasks: running containers.

use super::scope::scoped;
use engine::{CreateTask, Engine, Exec, Exit, Process, ProcessId, Stdio};
use model::{Error, Result as ModelResult, Scope};
use proto::{
    api::containerd::{
        services::tasks::v1::{self as api, tasks_server},
        types::Metric,
        v1::types::{Process as WireProcess, ProcessInfo, Status as WireStatus},
    },
    convert::{any_from_wire, any_to_wire, status, timestamp_to_wire},
};
use tonic::{Request, Response, Status, async_trait};

/// The service over the engine.
#[derive(Debug)]
pub(crate) struct Tasks(pub(crate) Engine);

fn process(process: Process) -> WireProcess {
    let state = match process.status {
        engine::Status::Unknown => WireStatus::Unknown,
        engine::Status::Created => WireStatus::Created,
        engine::Status::Running => WireStatus::Running,
        engine::Status::Stopped => WireStatus::Stopped,
        engine::Status::Paused => WireStatus::Paused,
        engine::Status::Pausing => WireStatus::Pausing,
    };
    WireProcess {
        // Left empty by containerd too.
        container_id: String::new(),
        id: process.id,
        pid: process.pid,
        status: state.into(),
        stdin: process.stdio.stdin,
        stdout: process.stdio.stdout,
        stderr: process.stdio.stderr,
        terminal: process.stdio.terminal,
        exit_status: process.exit_status,
        exited_at: Some(process.exited_at.map_or_else(never, timestamp_to_wire)),
    }
}

/// Go's zero time, which is how containerd says "not yet".
fn never() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 }
}

fn deleted(id: String, exit: Exit) -> Response<api::DeleteResponse> {
    Response::new(api::DeleteResponse {
        id,
        pid: exit.pid,
        exit_status: exit.status,
        exited_at: Some(exit.at.map_or_else(never, timestamp_to_wire)),
    })
}

fn empty((): ()) -> Response<()> {
    Response::new(())
}

impl Tasks {
    async fn create_task(&self, scope: Scope, request: api::CreateTaskRequest) -> ModelResult<api::CreateTaskResponse> {
        let container_id = request.container_id.clone();
        let task = CreateTask {
            container: request.container_id,
            rootfs: request.rootfs.into_iter().map(Into::into).collect(),
            stdio: Stdio {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
            checkpoint: request.checkpoint.map(TryInto::try_into).transpose()?,
            options: request.options.map(any_from_wire),
            runtime_path: request.runtime_path,
            task_api_address: request.task_api_address,
            task_api_version: request.task_api_version,
        };
        let pid = self.0.create_task(&scope, task).await?;
        Ok(api::CreateTaskResponse { container_id, pid })
    }
}

#[async_trait]
impl tasks_server::Tasks for Tasks {
    async fn create(
        &self,
        request: Request<api::CreateTaskRequest>,
    ) -> Result<Response<api::CreateTaskResponse>, Status> {
        let (scope, request) = scoped(request)?;
        // Boxed: by far the largest future of the service.
        Box::pin(self.create_task(scope, request)).await.map(Response::new).map_err(status)
    }

    async fn start(&self, request: Request<api::StartRequest>) -> Result<Response<api::StartResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let pid = self.0.start(&scope, &ProcessId::new(r.container_id, &r.exec_id)).await.map_err(status)?;
        Ok(Response::new(api::StartResponse { pid }))
    }

    async fn delete(&self, request: Request<api::DeleteTaskRequest>) -> Result<Response<api::DeleteResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let exit = self.0.delete_task(&scope, &r.container_id).await.map_err(status)?;
        Ok(deleted(String::new(), exit))
    }

    async fn delete_process(
        &self,
        request: Request<api::DeleteProcessRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let exit = self.0.delete_process(&scope, &r.container_id, &r.exec_id).await.map_err(status)?;
        Ok(deleted(r.exec_id, exit))
    }

    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::GetResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let found = self.0.get_task(&scope, &ProcessId::new(r.container_id, &r.exec_id)).await.map_err(status)?;
        Ok(Response::new(api::GetResponse { process: Some(process(found)) }))
    }

    /// The request's filter is ignored, as in containerd.
    async fn list(&self, request: Request<api::ListTasksRequest>) -> Result<Response<api::ListTasksResponse>, Status> {
        let (scope, _) = scoped(request)?;
        let tasks = self.0.list_tasks(&scope).await.map_err(status)?;
        Ok(Response::new(api::ListTasksResponse { tasks: tasks.into_iter().map(process).collect() }))
    }

    async fn kill(&self, request: Request<api::KillRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let id = ProcessId::new(r.container_id, &r.exec_id);
        self.0.kill(&scope, &id, r.signal, r.all).await.map(empty).map_err(status)
    }

    async fn exec(&self, request: Request<api::ExecProcessRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        if r.exec_id.is_empty() {
            return Err(status(Error::invalid_argument("exec id cannot be empty")));
        }
        let stdio = Stdio { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, terminal: r.terminal };
        let exec = Exec { container: r.container_id, exec_id: r.exec_id, stdio, spec: r.spec.map(any_from_wire) };
        self.0.exec(&scope, exec).await.map(empty).map_err(status)
    }

    async fn resize_pty(&self, request: Request<api::ResizePtyRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let id = ProcessId::new(r.container_id, &r.exec_id);
        self.0.resize_pty(&scope, &id, r.width, r.height).await.map(empty).map_err(status)
    }

    async fn close_io(&self, request: Request<api::CloseIoRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let id = ProcessId::new(r.container_id, &r.exec_id);
        if !r.stdin {
            return Ok(Response::new(()));
        }
        self.0.close_io(&scope, &id).await.map(empty).map_err(status)
    }

    async fn pause(&self, request: Request<api::PauseTaskRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        self.0.pause(&scope, &r.container_id).await.map(empty).map_err(status)
    }

    async fn resume(&self, request: Request<api::ResumeTaskRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        self.0.resume(&scope, &r.container_id).await.map(empty).map_err(status)
    }

    async fn list_pids(
        &self,
        request: Request<api::ListPidsRequest>,
    ) -> Result<Response<api::ListPidsResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let found = self.0.pids(&scope, &r.container_id).await.map_err(status)?;
        let processes =
            found.into_iter().map(|found| ProcessInfo { pid: found.pid, info: found.info.map(any_to_wire) });
        Ok(Response::new(api::ListPidsResponse { processes: processes.collect() }))
    }

    async fn checkpoint(
        &self,
        request: Request<api::CheckpointTaskRequest>,
    ) -> Result<Response<api::CheckpointTaskResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let made = self.0.checkpoint(&scope, &r.container_id, r.options.map(any_from_wire)).await.map_err(status)?;
        Ok(Response::new(api::CheckpointTaskResponse { descriptors: made.into_iter().map(Into::into).collect() }))
    }

    async fn update(&self, request: Request<api::UpdateTaskRequest>) -> Result<Response<()>, Status> {
        let (scope, r) = scoped(request)?;
        let resources = r.resources.map(any_from_wire);
        self.0.update(&scope, &r.container_id, resources, r.annotations).await.map(empty).map_err(status)
    }

    async fn metrics(&self, request: Request<api::MetricsRequest>) -> Result<Response<api::MetricsResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let metrics = self.0.metrics(&scope, &r.filters).await.map_err(status)?;
        let metrics = metrics.into_iter().map(|metric| Metric {
            timestamp: Some(timestamp_to_wire(metric.timestamp)),
            id: metric.id,
            data: metric.data.map(any_to_wire),
        });
        Ok(Response::new(api::MetricsResponse { metrics: metrics.collect() }))
    }

    async fn wait(&self, request: Request<api::WaitRequest>) -> Result<Response<api::WaitResponse>, Status> {
        let (scope, r) = scoped(request)?;
        let exit = self.0.wait(&scope, &ProcessId::new(r.container_id, &r.exec_id)).await.map_err(status)?;
        let exited_at = Some(exit.at.map_or_else(never, timestamp_to_wire));
        Ok(Response::new(api::WaitResponse { exit_status: exit.status, exited_at }))
    }
}
