//! The client against the codec's own server end, over a socket pair.

use super::*;
use crate::shim::{Connection as Shim, is_closed};
use model::Kind;
use prost::Message;
use proto::{
    shim::containerd::task::v3::{ConnectRequest, ConnectResponse},
    ttrpc::server,
};

const METHOD: Method = Method { service: "containerd.task.v3.Task", name: "Connect" };

/// Answers every request with its task's id length as pid, in reverse order of arrival per batch.
async fn serve(stream: UnixStream, batch: usize) {
    let mut codec = server::Connection::default();
    let mut held = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => codec.receive(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        while let Some(event) = codec.next_event() {
            let server::Event::Request { stream, request, .. } = event else { panic!("{event:?}") };
            assert_eq!(request.metadata_value(NAMESPACE_KEY), Some("default"));
            held.push((stream, request.payload));
        }
        if held.len() < batch {
            continue;
        }
        for (id, payload) in held.drain(..).rev() {
            let request = ConnectRequest::decode(payload).unwrap();
            let answer = ConnectResponse { task_pid: u32::try_from(request.id.len()).unwrap(), ..Default::default() };
            let bytes = codec.respond(id, Ok(answer.encode_to_vec().into()));
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(&bytes).unwrap(), bytes.len());
        }
    }
}

async fn connect(client: &Shim, id: usize, timeout: Option<Duration>) -> Result<u32> {
    let request = ConnectRequest { id: "x".repeat(id) };
    client.call::<_, ConnectResponse>(METHOD, "default", &request, timeout).await.map(|answer| answer.task_pid)
}

fn waiting(client: &Shim) -> usize {
    let Shim::Ttrpc(client) = client else { panic!("{client:?}") };
    client.shared.lock().waiting.len()
}

#[tokio::test]
async fn answers_reach_their_callers_in_any_order() {
    let (near, far) = UnixStream::pair().unwrap();
    tokio::spawn(serve(far, 8));
    let client = Arc::new(Shim::Ttrpc(Client::new(near)));
    let calls: Vec<_> = (0..8)
        .map(|id| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { connect(&client, id, None).await })
        })
        .collect();
    for (id, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap() as usize, id);
    }
    assert!(waiting(&client) == 0);
}

#[tokio::test]
async fn a_silent_peer_costs_the_timeout_and_a_closed_one_fails_every_caller() {
    let (near, far) = UnixStream::pair().unwrap();
    let client = Arc::new(Shim::Ttrpc(Client::new(near)));
    let error = connect(&client, 1, Some(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert!(waiting(&client) == 0, "a given-up call leaves nothing behind");

    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { connect(&client, 1, None).await }
    });
    tokio::task::yield_now().await;
    drop(far);
    assert!(is_closed(&waiting.await.unwrap().unwrap_err()));
    client.closed().await;
    assert!(is_closed(&connect(&client, 1, None).await.unwrap_err()));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up_not_buffered_for_ever() {
    let (near, _far) = UnixStream::pair().unwrap();
    let client = Shim::Ttrpc(Client::new(near));
    let mut last = None;
    for _ in 0..16 {
        let error = connect(&client, 1 << 20, Some(Duration::from_millis(10))).await.unwrap_err();
        last = Some(error.kind());
        if last == Some(Kind::Unavailable) {
            break;
        }
    }
    assert_eq!(last, Some(Kind::Unavailable));
    assert!(client.is_closed());
}
