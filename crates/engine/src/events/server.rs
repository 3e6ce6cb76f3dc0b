//! The socket on which shims forward their events: ttrpc, one method, peers of our own user only.

use super::Exchange;
use bytes::Bytes;
use model::{Envelope, Error, Namespace, Result};
use prost::Message;
use proto::{
    convert::{any_from_wire, timestamp_from_wire},
    shim::containerd::services::events::ttrpc::v1::ForwardRequest,
    ttrpc::{
        Request,
        server::{Connection, Event},
    },
};
use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    task::AbortHandle,
    time,
};

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
/// How long shims that kept events for us wait after a start: subscribers of the daemon before come back
/// first, as nothing is stored for them here. Less than a shim's own patience by far.
const RETURN: Duration = Duration::from_millis(500);
/// How long a failed accept (no descriptors left, say) is slept over.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may take to read an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Serves `exchange` on the socket `path`, in place of one that an earlier daemon left there.
/// Aborting the handle closes the listener.
///
/// # Errors
/// What binding reports, naming the path.
pub(crate) fn listen(path: &Path, exchange: Arc<Exchange>) -> Result<AbortHandle> {
    let failed = |error| Error::io(format!("listen on {}", path.display()), error);
    let bind = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(listener)
    };
    let listener = bind().map_err(failed)?;
    Ok(tokio::spawn(accept(listener, exchange)).abort_handle())
}

async fn accept(listener: UnixListener, exchange: Arc<Exchange>) {
    time::sleep(RETURN).await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                tokio::spawn(serve(stream, Arc::clone(&exchange)));
            }
            Ok(_) => tracing::warn!("event connection of another user refused"),
            Err(error) => {
                tracing::warn!(%error, "event connection cannot be accepted");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

/// Answers one shim until it hangs up. It is read no faster than it reads its answers.
async fn serve(mut stream: UnixStream, exchange: Arc<Exchange>) {
    let mut codec = Connection::default();
    while stream.readable().await.is_ok() {
        let mut answers = Vec::new();
        if !receive(&stream, &mut codec, &exchange, &mut answers) {
            return;
        }
        let written = time::timeout(WRITE_PATIENCE, stream.write_all(&answers)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// Reads once and handles what that completes; `false` at the end of the connection.
fn receive(stream: &UnixStream, codec: &mut Connection, exchange: &Exchange, answers: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 8192];
    match stream.try_read(&mut chunk) {
        Ok(0) => return false,
        Ok(read) => codec.receive(&chunk[..read]),
        Err(error) => return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
    while let Some(event) = codec.next_event() {
        match event {
            Event::Request { stream, request, .. } => {
                let result = handle(&request, exchange);
                answers.extend(codec.respond(stream, result.as_ref().map(|()| Bytes::new())));
            }
            Event::Refused(answer) => answers.extend(answer),
            Event::Data { .. } => {} // of a streaming call that was refused
        }
    }
    true
}

fn handle(request: &Request, exchange: &Exchange) -> Result<()> {
    if request.service != SERVICE {
        return Err(Error::unimplemented(format!("service {}", request.service)));
    }
    if request.method != "Forward" {
        return Err(Error::unimplemented(format!("method {}", request.method)));
    }
    let invalid = |error| Error::invalid_argument("malformed ForwardRequest").caused_by(error);
    let envelope = ForwardRequest::decode(request.payload.clone()).map_err(invalid)?.envelope;
    let envelope = envelope.ok_or_else(|| Error::invalid_argument("no envelope"))?;
    exchange.forward(Envelope {
        timestamp: timestamp_from_wire(envelope.timestamp),
        namespace: Namespace::new(envelope.namespace)
            .map_err(|error| error.context("event envelope has invalid namespace"))?,
        topic: envelope.topic,
        event: any_from_wire(envelope.event.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::shim::{Connection as Shim, Method, Protocol};
    use model::{Event as ModelEvent, Kind, Timestamp};
    use proto::convert::{event_to_wire, timestamp_to_wire};

    const FORWARD: Method = Method { service: SERVICE, name: "Forward" };

    #[tokio::test]
    async fn a_shims_events_arrive_in_order_and_bad_ones_are_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/events.ttrpc");
        let exchange = Arc::new(Exchange::new());
        let mut events = exchange.subscribe(&[]).unwrap();
        drop(listen(&path, Arc::clone(&exchange)).unwrap());
        // A later daemon takes the path over.
        let listener = listen(&path, Arc::clone(&exchange)).unwrap();
        let address = format!("unix://{}", path.display());
        let client = Shim::connect(Protocol::Ttrpc, &address, Duration::from_secs(5)).await.unwrap();
        let forward = async |method, namespace: &str, pid| {
            let envelope = proto::api::containerd::types::Envelope {
                timestamp: Some(timestamp_to_wire(Timestamp::now())),
                namespace: namespace.into(),
                topic: "/tasks/start".into(),
                event: Some(event_to_wire(ModelEvent::TaskStart { container_id: "c".into(), pid })),
            };
            let request = ForwardRequest { envelope: Some(envelope) };
            client.call::<_, ()>(method, "default", &request, Some(Duration::from_secs(5))).await
        };
        for pid in 1..=3 {
            forward(FORWARD, "space", pid).await.unwrap();
        }
        for pid in 1..=3 {
            let envelope = events.next().await.unwrap();
            assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("space", "/tasks/start"));
            let expected = event_to_wire(ModelEvent::TaskStart { container_id: "c".into(), pid });
            assert_eq!(envelope.event.value, expected.value);
        }
        assert_eq!(forward(FORWARD, "a/b", 1).await.unwrap_err().kind(), Kind::InvalidArgument);
        let other = Method { name: "Publish", ..FORWARD };
        assert_eq!(forward(other, "space", 1).await.unwrap_err().kind(), Kind::Unimplemented);
        listener.abort();
    }
}
