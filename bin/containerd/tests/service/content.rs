//! Content.Write and Read, message by message.

use crate::daemon::Daemon;
use client::Client;
use proto::api::containerd::services::content::v1::{
    InfoRequest, ListContentRequest, ReadContentRequest, StatusRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// One Write stream.
struct Session {
    requests: mpsc::Sender<WriteContentRequest>,
    replies: Streaming<WriteContentResponse>,
}

impl Session {
    async fn open(client: &Client, first: WriteContentRequest) -> Result<(Self, WriteContentResponse), Status> {
        let (requests, stream) = mpsc::channel(4);
        requests.send(first).await.unwrap();
        let replies = client.content().write(ReceiverStream::new(stream)).await?.into_inner();
        let mut session = Self { requests, replies };
        let reply = session.replies.message().await?.unwrap();
        Ok((session, reply))
    }

    async fn ask(&mut self, request: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        self.requests.send(request).await.unwrap();
        Ok(self.replies.message().await?.unwrap())
    }
}

fn message(action: WriteAction, offset: i64, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest { action: action.into(), offset, data: data.into(), ..Default::default() }
}

fn opening(reference: &str) -> WriteContentRequest {
    WriteContentRequest { r#ref: reference.into(), ..message(WriteAction::Stat, 0, b"") }
}

#[tokio::test]
async fn an_ingest_is_locked_resumed_checked_and_committed() {
    let daemon = Daemon::start();
    let client = daemon.client().await;
    let (mut session, begun) = Session::open(&client, opening("r")).await.unwrap();
    assert_eq!((begun.offset, begun.action()), (0, WriteAction::Stat));
    assert!(begun.digest.starts_with("sha256:e3b0c442") && begun.started_at.is_some());
    let wrote = session.ask(message(WriteAction::Write, 0, b"hello ")).await.unwrap();
    assert_eq!((wrote.offset, wrote.action()), (6, WriteAction::Write));

    let locked = Session::open(&client, opening("r")).await.map(drop).unwrap_err();
    assert_eq!(locked.code(), Code::Unavailable, "{locked}");
    let wrong = session.ask(message(WriteAction::Write, 7, b"x")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::OutOfRange, "{wrong}");
    drop(session);

    let status = client.content().status(StatusRequest { r#ref: "r".into() }).await.unwrap().into_inner();
    assert_eq!(status.status.unwrap().offset, 6, "what was written is still there");
    let (mut session, resumed) = loop {
        // The other stream's end and its lock's are one thing to the server, but not one moment.
        match Session::open(&client, opening("r")).await {
            Err(error) if error.code() == Code::Unavailable => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(resumed.offset, 6);
    let short = WriteContentRequest { total: 99, ..message(WriteAction::Commit, 6, b"world") };
    let short = session.ask(short).await.unwrap_err();
    assert_eq!(short.code(), Code::FailedPrecondition, "{short}");
}

#[tokio::test]
async fn offset_zero_begins_anew_and_what_exists_is_said_at_once() {
    let daemon = Daemon::start();
    let client = daemon.client().await;
    let (mut session, _) = Session::open(&client, opening("r")).await.unwrap();
    session.ask(message(WriteAction::Write, 0, b"wrong")).await.unwrap();
    let again = session.ask(message(WriteAction::Write, 0, b"right")).await.unwrap();
    assert_eq!(again.offset, 5);
    let labels = [("a".to_owned(), "b".to_owned())].into();
    let commit = WriteContentRequest { labels, total: 5, ..message(WriteAction::Commit, 5, b"") };
    let committed = session.ask(commit).await.unwrap();
    assert!(session.replies.message().await.unwrap().is_none(), "a commit ends the stream");
    let info = client.content().info(InfoRequest { digest: committed.digest.clone() }).await.unwrap().into_inner();
    let info = info.info.unwrap();
    assert_eq!((info.size, info.labels["a"].as_str()), (5, "b"));

    let known = WriteContentRequest { expected: committed.digest.clone(), ..opening("other") };
    let known = Session::open(&client, known).await.map(drop).unwrap_err();
    assert_eq!(known.code(), Code::AlreadyExists, "{known}");
    for (first, code) in [
        (opening(""), Code::InvalidArgument),
        (WriteContentRequest { action: 9, ..opening("r") }, Code::InvalidArgument),
        (WriteContentRequest { expected: "md5:zz".into(), ..opening("r") }, Code::InvalidArgument),
        (WriteContentRequest { total: -1, ..opening("r") }, Code::InvalidArgument),
    ] {
        assert_eq!(Session::open(&client, first).await.map(drop).unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn reads_are_clamped_and_lists_come_in_blocks() {
    let daemon = Daemon::start();
    let client = daemon.client().await;
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut digest = String::new();
    for n in 0..101 {
        let data = if n == 0 { big.clone() } else { format!("blob {n}").into_bytes() };
        let first =
            WriteContentRequest { r#ref: format!("r{n}"), data: data.into(), ..message(WriteAction::Commit, 0, b"") };
        let (_, committed) = Session::open(&client, first).await.unwrap();
        if n == 0 {
            digest = committed.digest;
        }
    }
    let mut blocks = client.content().list(ListContentRequest::default()).await.unwrap().into_inner();
    let mut sizes = Vec::new();
    while let Some(block) = blocks.message().await.unwrap() {
        sizes.push(block.info.len());
    }
    assert_eq!(sizes, [100, 1]);

    for (offset, size, expected) in [(0, 0, 0..3_000_000), (5, 10, 5..15), (2_999_999, 50, 2_999_999..3_000_000)] {
        let request = ReadContentRequest { digest: digest.clone(), offset, size };
        let mut chunks = client.content().read(request).await.unwrap().into_inner();
        let mut read = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            assert_eq!(chunk.offset, i64::try_from(read.len()).unwrap(), "counted from the first byte sent");
            read.extend_from_slice(&chunk.data);
        }
        assert!(read == big[expected], "{offset} {size}");
    }
    let past = ReadContentRequest { digest: digest.clone(), offset: 3_000_001, size: 0 };
    assert_eq!(client.content().read(past).await.unwrap_err().code(), Code::OutOfRange);
    let absent = ReadContentRequest { digest: format!("sha256:{}", "0".repeat(64)), ..Default::default() };
    assert_eq!(client.content().read(absent).await.map(drop).unwrap_err().code(), Code::NotFound);
}
