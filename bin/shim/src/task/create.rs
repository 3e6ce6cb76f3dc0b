//! `Create`: mounts, stdio, `runc create`.

use super::process::{Restore, now};
use super::{Container, Process, ProcessKey, State, Stdio};
use crate::identity::check_name;
use crate::runc::Runc;
use crate::shim::{Reply, Shim};
use crate::spec::Spec;
use crate::{events, log, options, rootfs};
use model::{Error, Result};
use proto::api::containerd::events::{TaskCreate, TaskIo};
use proto::shim::containerd::task::v3::{CreateTaskRequest, CreateTaskResponse};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use sys::cgroup::{Cgroup, OomWatch};

impl Shim {
    pub(super) fn create(&mut self, reply: Reply, request: CreateTaskRequest) -> Result<()> {
        check_name("container", &request.id)?;
        if self.containers.contains_key(&request.id) {
            return Err(Error::already_exists(format!("id {}: already exists", request.id)));
        }
        let bundle = PathBuf::from(&request.bundle);
        if !bundle.is_absolute() {
            return Err(Error::invalid_argument(format!("bundle {:?} is not an absolute path", request.bundle)));
        }
        let container = self.new_container(&request, &bundle)?;
        options::store(&bundle, &container.options)?;
        rootfs::mount(request.rootfs.clone(), &bundle)?;
        self.containers.insert(request.id.clone(), container);

        let key = ProcessKey::init(&request.id);
        self.prepare_io(&key, move |shim, result| {
            let id = request.id.clone();
            if let Err(error) = result {
                shim.create_failed(reply, &id, error.context("failed to create init process I/O"));
            } else if request.checkpoint.is_empty() {
                shim.run_create(reply, request);
            } else {
                shim.created(reply, &request, 0);
            }
        });
        Ok(())
    }

    fn new_container(&self, request: &CreateTaskRequest, bundle: &Path) -> Result<Container> {
        let options = options::from_any(request.options.as_ref())?;
        let stored = options::Stored {
            root: options.root.clone(),
            binary_name: options.binary_name.clone(),
            systemd_cgroup: options.systemd_cgroup,
        };
        let stdio = Stdio {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let restore = (!request.checkpoint.is_empty()).then(|| Restore {
            image: request.checkpoint.clone(),
            parent: request.parent_checkpoint.clone(),
            work: match options.criu_work_path.as_str() {
                "" => bundle.join("work"),
                path => PathBuf::from(path),
            },
        });
        let state = if restore.is_some() { State::Restorable } else { State::Created };
        Ok(Container {
            bundle: bundle.to_owned(),
            runc: Runc::new(&stored, &self.identity.namespace, bundle),
            options,
            is_created: false,
            init: Process::new(stdio, state),
            execs: BTreeMap::new(),
            cgroup: None,
            oom: None,
            has_early_oom: false,
            has_own_pid_namespace: Spec::load(bundle)?.has_own_pid_namespace(),
            running_execs: 0,
            held_exit: None,
            is_swept: false,
            restore,
            locked: false,
            waiting: VecDeque::new(),
        })
    }

    fn run_create(&mut self, reply: Reply, request: CreateTaskRequest) {
        let key = ProcessKey::init(&request.id);
        let Some(container) = self.containers.get(&request.id) else { return };
        let mut arguments: Vec<String> = ["create", "--bundle", &request.bundle].map(str::to_owned).into();
        if container.options.no_pivot_root {
            arguments.push("--no-pivot".into());
        }
        if container.options.no_new_keyring {
            arguments.push("--no-new-keyring".into());
        }
        self.launch(&key, &arguments, reply.deadline, "OCI runtime create failed", move |shim, result| match result {
            Ok(pid) => shim.created(reply, &request, pid),
            Err(error) => shim.create_failed(reply, &request.id, error),
        });
    }

    fn create_failed(&mut self, reply: Reply, id: &str, error: Error) {
        self.discard_io(&ProcessKey::init(id));
        if let Some(container) = self.containers.remove(id)
            && let Err(left) = rootfs::unmount(&container.bundle)
        {
            log::warning!("{id}: {left}");
        }
        self.respond::<()>(reply, Err(error));
    }

    fn created(&mut self, reply: Reply, request: &CreateTaskRequest, pid: u32) {
        let id = &request.id;
        let Some(container) = self.containers.get_mut(id) else { return };
        container.is_created = true;
        container.init.pid = pid;
        if pid != 0 {
            self.watch_memory(id);
        }
        self.publish_event(
            events::CREATE,
            &TaskCreate {
                container_id: id.clone(),
                bundle: request.bundle.clone(),
                rootfs: request.rootfs.clone(),
                io: Some(TaskIo {
                    stdin: request.stdin.clone(),
                    stdout: request.stdout.clone(),
                    stderr: request.stderr.clone(),
                    terminal: request.terminal,
                }),
                checkpoint: request.checkpoint.clone(),
                pid,
            },
        );
        self.respond(reply, Ok(CreateTaskResponse { pid }));
    }

    /// Remembers the cgroup of the first process and watches it for OOM kills. This starts
    /// before the container does, as it may run out of memory at once.
    pub(super) fn watch_memory(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let cgroup = match Cgroup::of_process(container.init.pid) {
            Ok(cgroup) => cgroup,
            Err(error) => return log::warning!("{id}: loading cgroup of {}: {error}", container.init.pid),
        };
        match OomWatch::new(&cgroup) {
            Ok(Some(watch)) => {
                container.cgroup = Some(cgroup);
                self.add_oom_watch(id, watch);
            }
            Ok(None) => container.cgroup = Some(cgroup),
            Err(error) => {
                log::warning!("{id}: add cgroup to OOM monitor: {error}");
                container.cgroup = Some(cgroup);
            }
        }
    }

    /// The kernel says something about the memory of container `id`.
    pub(crate) fn memory_event(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some((_, watch)) = container.oom.as_mut() else { return };
        if watch.take() {
            if container.init.is_starting {
                container.has_early_oom = true;
            } else {
                self.publish_oom(id);
            }
        }
    }

    pub(super) fn publish_oom(&mut self, id: &str) {
        let container_id = id.to_owned();
        self.publish_event(events::OOM, &proto::api::containerd::events::TaskOom { container_id });
    }

    /// Queues an event for containerd.
    pub(crate) fn publish_event<M: prost::Name>(&mut self, topic: &str, event: &M) {
        self.publisher.queue(topic, super::process::any(event), now());
    }
}
