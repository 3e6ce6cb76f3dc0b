//! The `delete` action: cleans up after a supervisor that died, and says how the container
//! ended.

use crate::events::{self, EXIT, recorded_exit};
use crate::identity::Identity;
use crate::log::warning;
use crate::runc::Runc;
use crate::task::now;
use crate::{options, rootfs, socket};
use bytes::Bytes;
use model::{Error, Result};
use prost::Message as _;
use proto::api::containerd::events::TaskExit;
use proto::shim::containerd::services::events::ttrpc::v1::ForwardRequest;
use proto::shim::containerd::task::v3::DeleteResponse;
use proto::ttrpc::client;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

/// The status of a container that was killed with its supervisor: 128 + SIGKILL.
const KILLED: u32 = 137;

/// Removes the container and prints a `DeleteResponse`.
pub(crate) fn run(identity: &Identity) -> Result<()> {
    // As Go: the working directory may be that of another container of the group.
    let bundle = identity.bundle.parent().unwrap_or(&identity.bundle).join(&identity.id);
    let runc = Runc::new(&options::load(&bundle), &identity.namespace, &bundle);
    let deleted = runc.command().args(["delete", "--force", &identity.id]).stdin(Stdio::null()).output();
    match deleted {
        Ok(output) if !output.status.success() => {
            warning!("failed to remove runc container: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(_) => {}
        Err(error) => warning!("failed to call {}: {error}", runc.binary()),
    }
    if let Err(error) = rootfs::unmount(&bundle) {
        warning!("{error}");
    }
    remove_socket(&bundle);
    let left = events::unacknowledged(&bundle);
    if !left.is_empty()
        && let Err(error) = forward(identity, left)
    {
        warning!("forward events left behind: {error}");
    }
    std::io::stdout().write_all(&response(&bundle).encode_to_vec()).map_err(|error| Error::io("write answer", error))
}

/// Removes the socket of the dead supervisor, whose address containerd keeps in the bundle.
/// One that somebody serves is that of a group, or of a successor.
fn remove_socket(bundle: &Path) {
    let Ok(json) = std::fs::read(bundle.join("bootstrap.json")) else { return };
    let Ok(bootstrap) = serde_json::from_slice::<serde_json::Value>(&json) else { return };
    let path = bootstrap["address"].as_str().and_then(|address| address.strip_prefix("unix://")).map(Path::new);
    if let Some(path) = path
        && socket::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        && let Err(error) = std::fs::remove_file(path)
    {
        warning!("remove {}: {error}", path.display());
    }
}

/// How the container ended: as the supervisor recorded, or killed just now.
fn response(bundle: &Path) -> DeleteResponse {
    match recorded_exit(bundle) {
        Some(exit) => DeleteResponse {
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(prost_types::Timestamp { seconds: exit.seconds, nanos: exit.nanos }),
        },
        None => {
            let pid = std::fs::read_to_string(bundle.join("init.pid")).ok().and_then(|text| text.trim().parse().ok());
            DeleteResponse { pid: pid.unwrap_or(0), exit_status: KILLED, exited_at: Some(now()) }
        }
    }
}

/// Sends what the supervisor could not, except the exits and deletions of containers:
/// those containerd publishes itself when it has our answer.
fn forward(identity: &Identity, left: Vec<Vec<u8>>) -> Result<()> {
    let context = |error| Error::io(format!("connect to {}", identity.events.display()), error);
    let mut socket = UnixStream::connect(&identity.events).map_err(context)?;
    socket.set_read_timeout(Some(events::ACKNOWLEDGE)).map_err(context)?;
    socket.set_write_timeout(Some(events::ACKNOWLEDGE)).map_err(context)?;
    let mut wire = client::Connection::default();
    for event in left.into_iter().filter(|event| !is_of_container(event)) {
        let (stream, bytes) = wire.call(&events::forward_request(Bytes::from(event), &identity.namespace))?;
        socket.write_all(&bytes).map_err(context)?;
        answer(&mut socket, &mut wire, stream).map_err(context)?;
    }
    Ok(())
}

fn answer(socket: &mut UnixStream, wire: &mut client::Connection, expected: u32) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = wire.next_event() {
            if let client::Event::Response { stream, result } = event
                && stream == expected
            {
                return result.map(drop).map_err(std::io::Error::other);
            }
        }
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => wire.receive(&buffer[..count]),
        }
    }
}

fn is_of_container(event: &[u8]) -> bool {
    let Ok(ForwardRequest { envelope: Some(envelope) }) = ForwardRequest::decode(event) else { return true };
    match envelope.topic.as_str() {
        events::DELETE => true,
        EXIT => envelope
            .event
            .and_then(|any| TaskExit::decode(any.value.as_slice()).ok())
            .is_none_or(|exit| exit.id == exit.container_id),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::any;
    use proto::api::containerd::types::Envelope;

    #[test]
    fn a_recorded_exit_is_the_answer_and_a_kill_is_the_fallback() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("init.pid"), "12").unwrap();
        assert_eq!((response(dir.path()).pid, response(dir.path()).exit_status), (12, KILLED));
        let exit = crate::task::Exit { status: 3, at: prost_types::Timestamp { seconds: 1, nanos: 2 } };
        events::record_exit(dir.path(), 12, exit).unwrap();
        assert_eq!((response(dir.path()).exit_status, response(dir.path()).exited_at), (3, Some(exit.at)));
    }

    #[test]
    fn the_socket_of_the_dead_is_removed_and_that_of_the_living_is_not() {
        let _nobody_forks = crate::FORKING.read();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let json =
            serde_json::json!({ "version": 3, "protocol": "ttrpc", "address": format!("unix://{}", path.display()) });
        std::fs::write(dir.path().join("bootstrap.json"), json.to_string()).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        remove_socket(dir.path());
        assert!(path.exists());
        drop(listener);
        remove_socket(dir.path());
        assert!(!path.exists());
        remove_socket(dir.path());
    }

    #[test]
    fn only_events_containerd_does_not_make_itself_are_forwarded() {
        let event = |topic: &str, id: &str| {
            let exit = TaskExit { container_id: "c".into(), id: id.into(), ..TaskExit::default() };
            let envelope = Envelope { topic: topic.into(), event: Some(any(&exit)), ..Envelope::default() };
            ForwardRequest { envelope: Some(envelope) }.encode_to_vec()
        };
        assert!(is_of_container(&event(EXIT, "c")));
        assert!(!is_of_container(&event(EXIT, "exec")));
        assert!(!is_of_container(&event(events::OOM, "c")));
        assert!(is_of_container(b"\xff"));
    }
}
