//! containerd's side of the events socket.

use prost::Message as _;
use proto::api::containerd::events::{TaskExecStarted, TaskExit};
use proto::api::containerd::types::Envelope;
use proto::shim::containerd::services::events::ttrpc::v1::ForwardRequest;
use proto::ttrpc::server::{Connection, Event};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Collects events, until it is stopped.
pub struct EventServer {
    path: PathBuf,
    seen: Arc<Mutex<Vec<Envelope>>>,
    stopped: Arc<AtomicBool>,
}

impl EventServer {
    pub fn start(path: &Path) -> Self {
        let _absent = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let server = Self { path: path.to_owned(), seen: Arc::default(), stopped: Arc::default() };
        let (seen, stopped) = (Arc::clone(&server.seen), Arc::clone(&server.stopped));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
                std::thread::spawn(move || serve(socket.unwrap(), &seen, &stopped));
            }
        });
        server
    }

    /// Goes away, as a daemon that is killed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The thread that accepts finds out with the next connection.
        let _woken = UnixStream::connect(&self.path);
        std::fs::remove_file(&self.path).unwrap();
    }

    /// What happened to `container` so far, as `topic`, `topic exec` for exits of execs and
    /// `topic=status` for exits.
    pub fn of(&self, container: &str) -> Vec<String> {
        self.seen.lock().unwrap().iter().filter_map(|envelope| describe(envelope, container)).collect()
    }

    /// Waits until `last` has happened to `container`; gives all that happened before.
    pub fn until(&self, container: &str, last: &str) -> Vec<String> {
        super::eventually(last, || self.of(container).iter().any(|event| event == last));
        self.of(container)
    }
}

fn serve(mut socket: UnixStream, seen: &Mutex<Vec<Envelope>>, stopped: &AtomicBool) {
    let (mut wire, mut buffer) = (Connection::default(), [0; 4096]);
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        wire.receive(&buffer[..count]);
        while let Some(event) = wire.next_event() {
            let Event::Request { stream, request, .. } = event else { panic!("{event:?}") };
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            assert_eq!(
                (request.service.as_str(), request.method.as_str()),
                ("containerd.services.events.ttrpc.v1.Events", "Forward")
            );
            let envelope = ForwardRequest::decode(request.payload).unwrap().envelope.unwrap();
            assert_eq!(envelope.namespace, super::NAMESPACE);
            assert!(envelope.timestamp.is_some());
            let mut seen = seen.lock().unwrap();
            // The same to the nanosecond: sent again because our answer came late.
            if !seen.contains(&envelope) {
                seen.push(envelope);
            }
            drop(seen);
            if socket.write_all(&wire.respond(stream, Ok(bytes::Bytes::new()))).is_err() {
                return;
            }
        }
    }
}

fn describe(envelope: &Envelope, container: &str) -> Option<String> {
    let any = envelope.event.as_ref().unwrap();
    // All task events have the container's id as their first field.
    let started = TaskExecStarted::decode(any.value.as_slice());
    let topic = envelope.topic.strip_prefix("/tasks/").unwrap();
    match topic {
        "exit" => {
            assert_eq!(any.type_url, "containerd.events.TaskExit");
            let exit = TaskExit::decode(any.value.as_slice()).unwrap();
            let exec = if exit.id == exit.container_id { String::new() } else { format!(" {}", exit.id) };
            (exit.container_id == container).then(|| format!("exit{exec}={}", exit.exit_status))
        }
        "exec-added" | "exec-started" => {
            let event = started.unwrap();
            (event.container_id == container).then(|| format!("{topic} {}", event.exec_id))
        }
        _ => {
            let length = usize::from(any.value[1]);
            (any.value[2..2 + length] == *container.as_bytes()).then(|| topic.to_owned())
        }
    }
}
