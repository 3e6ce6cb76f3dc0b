//! The socket on which shims forward their events: ttrpc, one method, peers of our own user only.
//!
//! An event is acknowledged once it is published and has left for the clients that hear it ([`delivered`]), so that each
//! is published at least once. One whose acknowledgement a shim did not see comes again: to this daemon, which knows it
//! ([`Repeats`]); or to the next one, if we died between the two. That one publishes it for its own subscribers. Who
//! listened to both may have it twice, the same to the nanosecond, and nothing on our side could prevent that: whether
//! the first copy had left for a subscriber when we died, nobody knows.
//!
//! A deletion that comes before its task's exit waits for it ([`Overtaken`]), acknowledged, as the exit comes behind it
//! on the same connection.

use super::{
    Exchange,
    delivery::{Awaited, delivered},
    exchange::{Hearers, check},
    overtaken::{Init, Overtaken, Turn},
    repeats::{Identity, Repeats},
};
use crate::config::Timeouts;
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
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    task::AbortHandle,
    time,
};

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
/// How long a failed accept (no descriptors left, say) is slept over.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may take to read an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Where shims' events come in.
#[derive(Debug)]
struct Inlet {
    exchange: Arc<Exchange>,
    /// How long a deletion waits for its task's exit, which Go's shim sends right behind it.
    overtaken: Duration,
    received: Mutex<Received>,
}

/// What is remembered of the events that came.
#[derive(Debug, Default)]
struct Received {
    repeats: Repeats,
    overtaken: Overtaken,
}

/// Serves `exchange` on the socket `path`, in place of one that an earlier daemon left there, once the subscribers are
/// back that the file `audience` tells of. How long it waits for them, and a deletion for its task's exit, is in
/// `timeouts`. Aborting the handle closes the listener.
///
/// # Errors
/// What binding reports, naming the path.
pub(crate) fn listen(
    path: &Path,
    exchange: Arc<Exchange>,
    audience: PathBuf,
    timeouts: &Timeouts,
) -> Result<AbortHandle> {
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
    let inlet = Arc::new(Inlet { exchange, overtaken: timeouts.overtaken, received: Mutex::default() });
    Ok(tokio::spawn(accept(listener, inlet, audience, timeouts.subscribers)).abort_handle())
}

async fn accept(listener: UnixListener, inlet: Arc<Inlet>, audience: PathBuf, patience: Duration) {
    inlet.exchange.audience.gather(audience, patience).await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                tokio::spawn(serve(stream, Arc::clone(&inlet)));
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

/// One shim's connection.
struct Peer {
    inlet: Arc<Inlet>,
    codec: Connection,
    /// Its last event.
    last: Option<Identity>,
}

/// Answers one shim until it hangs up. It is read no faster than it reads its answers.
async fn serve(mut stream: UnixStream, inlet: Arc<Inlet>) {
    let mut peer = Peer { inlet, codec: Connection::default(), last: None };
    while stream.readable().await.is_ok() {
        let mut answers = Vec::new();
        if !peer.receive(&stream, &mut answers).await {
            return;
        }
        let written = time::timeout(WRITE_PATIENCE, stream.write_all(&answers)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

impl Peer {
    /// Reads once and handles what that completes; `false` at the end of the connection.
    async fn receive(&mut self, stream: &UnixStream, answers: &mut Vec<u8>) -> bool {
        let mut chunk = [0; 8192];
        match stream.try_read(&mut chunk) {
            Ok(0) => return false,
            Ok(read) => self.codec.receive(&chunk[..read]),
            Err(error) => return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
        while let Some(event) = self.codec.next_event() {
            match event {
                Event::Request { stream, request, .. } => {
                    let result = self.handle(&request).await;
                    answers.extend(self.codec.respond(stream, result.as_ref().map(|()| Bytes::new())));
                }
                Event::Refused(answer) => answers.extend(answer),
                Event::Data { .. } => {} // of a streaming call that was refused
            }
        }
        true
    }

    async fn handle(&mut self, request: &Request) -> Result<()> {
        let envelope = envelope(request)?;
        // Clients about to be cut off are the next daemon's, and so is the event.
        let is_last = self.inlet.exchange.audience.is_dismissed();
        let awaited = self.publish(envelope, if is_last { Hearers::Ourselves } else { Hearers::All })?;
        delivered(awaited).await;
        if is_last { Err(Error::unavailable("the daemon is shutting down")) } else { Ok(()) }
    }

    /// Publishes an event that was not yet, in its turn; what is then under way to clients.
    fn publish(&mut self, envelope: Envelope, hearers: Hearers) -> Result<Vec<Awaited>> {
        check(&envelope)?;
        // Held until it is published: the same event may come on another connection at the same time.
        let mut received = self.inlet.lock();
        let identity = received.repeats.identity(&envelope);
        let is_new = !received.repeats.has(identity);
        received.repeats.published(identity, &mut self.last);
        if !is_new {
            return Ok(Vec::new());
        }
        let exchange = &self.inlet.exchange;
        Ok(match received.overtaken.turn(envelope) {
            Turn::Now(event) => exchange.broadcast(event, hearers),
            Turn::Both(exit, deletion) => {
                let mut awaited = exchange.broadcast(exit, hearers);
                awaited.extend(exchange.broadcast(deletion, hearers));
                awaited
            }
            Turn::Later(init) => {
                tokio::spawn(Arc::clone(&self.inlet).wait_for_exit(init));
                Vec::new()
            }
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.inlet.lock().repeats.ended(self.last);
    }
}

impl Inlet {
    /// Publishes the deletion of `init`'s task if its exit has not come in time.
    async fn wait_for_exit(self: Arc<Self>, init: Init) {
        time::sleep(self.overtaken).await;
        let mut received = self.lock();
        if let Some(deletion) = received.overtaken.give_up(&init) {
            self.exchange.broadcast(deletion, Hearers::All);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        // It is whole between statements, so a panicked holder left nothing half-done.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event that a shim forwards.
fn envelope(request: &Request) -> Result<Envelope> {
    if request.service != SERVICE {
        return Err(Error::unimplemented(format!("service {}", request.service)));
    }
    if request.method != "Forward" {
        return Err(Error::unimplemented(format!("method {}", request.method)));
    }
    let invalid = |error| Error::invalid_argument("malformed ForwardRequest").caused_by(error);
    let envelope = ForwardRequest::decode(request.payload.clone()).map_err(invalid)?.envelope;
    let envelope = envelope.ok_or_else(|| Error::invalid_argument("no envelope"))?;
    Ok(Envelope {
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
    use crate::Subscription;
    use client::shim::{Connection as Shim, Method, Protocol};
    use model::{Event as ModelEvent, Kind, Timestamp};
    use proto::{
        api::containerd::types,
        convert::{event_to_wire, timestamp_to_wire},
    };

    const FORWARD: Method = Method { service: SERVICE, name: "Forward" };
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A socket served, with a subscriber.
    struct Bed {
        folder: tempfile::TempDir,
        exchange: Arc<Exchange>,
        events: Subscription,
    }

    impl Bed {
        fn new() -> Self {
            let exchange = Arc::new(Exchange::new());
            let events = exchange.subscribe(&[]).unwrap();
            let bed = Self { folder: tempfile::tempdir().unwrap(), exchange, events };
            bed.listen();
            bed
        }

        fn listen(&self) -> AbortHandle {
            let audience = self.folder.path().join("audience");
            listen(&self.socket(), Arc::clone(&self.exchange), audience, &Timeouts::default()).unwrap()
        }

        fn socket(&self) -> PathBuf {
            self.folder.path().join("sub/events.ttrpc")
        }

        async fn connect(&self) -> Shim {
            let address = format!("unix://{}", self.socket().display());
            Shim::connect(Protocol::Ttrpc, &address, PATIENCE).await.unwrap()
        }

        async fn expect(&mut self, pid: u32) {
            let envelope = time::timeout(PATIENCE, self.events.next()).await.expect("an event").unwrap();
            assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("space", "/tasks/start"));
            assert_eq!(envelope.event.value, start(pid).value);
        }
    }

    fn start(pid: u32) -> proto::Any {
        event_to_wire(ModelEvent::TaskStart { container_id: "c".into(), pid })
    }

    fn event(pid: u32) -> types::Envelope {
        types::Envelope {
            timestamp: Some(timestamp_to_wire(Timestamp::now())),
            namespace: "space".into(),
            topic: "/tasks/start".into(),
            event: Some(start(pid)),
        }
    }

    async fn forward(shim: &Shim, method: Method, envelope: &types::Envelope) -> Result<()> {
        let request = ForwardRequest { envelope: Some(envelope.clone()) };
        shim.call::<_, ()>(method, "default", &request, Some(PATIENCE)).await
    }

    #[tokio::test]
    async fn a_shims_events_arrive_in_order_and_bad_ones_are_told_so() {
        let mut bed = Bed::new();
        // A later daemon takes the path over.
        let listener = bed.listen();
        let shim = bed.connect().await;
        for pid in 1..=3 {
            forward(&shim, FORWARD, &event(pid)).await.unwrap();
        }
        for pid in 1..=3 {
            bed.expect(pid).await;
        }
        let bad = types::Envelope { namespace: "a/b".into(), ..event(1) };
        for _ in 0..2 {
            assert_eq!(forward(&shim, FORWARD, &bad).await.unwrap_err().kind(), Kind::InvalidArgument);
        }
        let other = Method { name: "Publish", ..FORWARD };
        assert_eq!(forward(&shim, other, &event(1)).await.unwrap_err().kind(), Kind::Unimplemented);
        listener.abort();
    }

    #[tokio::test]
    async fn an_event_that_comes_again_is_acknowledged_and_not_published_again() {
        let mut bed = Bed::new();
        let (one, two) = (event(1), event(2));
        let shim = bed.connect().await;
        forward(&shim, FORWARD, &one).await.unwrap();
        forward(&shim, FORWARD, &one).await.unwrap();
        // Given up by the shim while the daemon still has it.
        let again = bed.connect().await;
        forward(&again, FORWARD, &one).await.unwrap();
        forward(&again, FORWARD, &two).await.unwrap();
        drop((shim, again));
        let later = bed.connect().await;
        forward(&later, FORWARD, &two).await.unwrap();
        forward(&later, FORWARD, &event(3)).await.unwrap();
        for pid in 1..=3 {
            bed.expect(pid).await;
        }
        assert!(bed.events.try_next().is_none());
    }

    #[tokio::test]
    async fn an_exit_comes_before_the_deletion_that_overtook_it() {
        let mut bed = Bed::new();
        let (at, exited_at) = (Timestamp::now(), Timestamp::now());
        let event = |event: ModelEvent| types::Envelope {
            timestamp: Some(timestamp_to_wire(at)),
            namespace: "space".into(),
            topic: event.topic().into(),
            event: Some(event_to_wire(event)),
        };
        let (container_id, exit_status) = ("c".to_owned(), 0);
        let exit = |pid| {
            let (container_id, id) = (container_id.clone(), container_id.clone());
            event(ModelEvent::TaskExit { container_id, id, pid, exit_status, exited_at })
        };
        let deletion = |pid| {
            let (container_id, id) = (container_id.clone(), String::new());
            event(ModelEvent::TaskDelete { container_id, id, pid, exit_status, exited_at })
        };
        let shim = bed.connect().await;
        // At once: in between there is no time for the deletion to give up.
        let (early, exited) = (deletion(1), exit(1));
        let (one, two) = tokio::join!(forward(&shim, FORWARD, &early), forward(&shim, FORWARD, &exited));
        one.and(two).unwrap();
        // The exit of this one was published by the daemon before.
        forward(&shim, FORWARD, &deletion(2)).await.unwrap();
        for topic in ["/tasks/exit", "/tasks/delete", "/tasks/delete"] {
            let envelope = time::timeout(PATIENCE, bed.events.next()).await.expect("an event").unwrap();
            assert_eq!(envelope.topic, topic);
        }
    }

    #[tokio::test]
    async fn at_the_end_events_are_left_to_the_next_daemon() {
        let mut bed = Bed::new();
        let mut client = bed.exchange.subscribe_client(&[]).unwrap();
        let shim = bed.connect().await;
        bed.exchange.dismiss_clients();
        let one = event(1);
        for _ in 0..2 {
            assert_eq!(forward(&shim, FORWARD, &one).await.unwrap_err().kind(), Kind::Unavailable);
        }
        bed.expect(1).await;
        assert!(bed.events.try_next().is_none(), "our own tasks hear it once");
        assert!(client.try_next().is_none(), "a client hears it from the next daemon");
    }

    #[tokio::test]
    async fn events_wait_for_the_clients_of_the_daemon_before() {
        let mut bed = Bed::new();
        bed.exchange.shims_heard(PATIENCE).await;
        let client = bed.exchange.subscribe_client(&[]).unwrap();
        // It dies with its client.
        bed.exchange.dismiss_clients();
        drop(client);
        bed.exchange = Arc::new(Exchange::new());
        bed.listen();
        let shim = bed.connect().await;
        let one = event(1);
        let forwarding = forward(&shim, FORWARD, &one);
        let back = async {
            tokio::task::yield_now().await;
            bed.exchange.subscribe_client(&[]).unwrap()
        };
        let (forwarded, client) = tokio::join!(forwarding, back);
        forwarded.unwrap();
        bed.events = client;
        bed.expect(1).await;
    }
}
