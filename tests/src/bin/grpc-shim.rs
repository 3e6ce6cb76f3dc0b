//! A shim that speaks gRPC, as `io.containerd.grpc.v1`: it has the `containerd-shim-runc-v2` beside it do the work,
//! and passes on every call of version 3 of the Task service.
//!
//! Called by another name than its own, with that shim in the same folder. `start` starts the other, and leaves a
//! process behind that serves on a socket beside the other's until the other ends; all else the other does itself.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "it is part of a test, says its address, and leaves a server behind"
)]

use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, Stdio};

use prost::Message as _;
use proto::shim::containerd::runtime::bootstrap::v1::BootstrapResult;
use proto::ttrpc::client::{Connection, Event};
use proto::ttrpc::{KeyValue, NAMESPACE_KEY, Request};
use tests::raw::Codec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tonic::Status;
use tonic::codegen::http;
use tonic::server::{Grpc, UnaryService};

/// Where the other shim listens, for the process that serves.
const OTHER: &str = "OTHER_SHIM";

fn main() {
    let own = PathBuf::from(std::env::args_os().next().expect("a name"));
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let Ok(other) = std::env::var(OTHER) {
        return serve(&other);
    }
    let mut other = Command::new(own.with_file_name("containerd-shim-runc-v2"));
    other.args(&arguments);
    if arguments.last().is_none_or(|last| last != "start") {
        panic!("run the other shim: {}", other.exec());
    }
    let output = other.stderr(Stdio::inherit()).output().expect("start the other shim");
    assert!(output.status.success(), "the other shim did not start: {}", output.status);
    let address = address(&output.stdout);
    let socket = format!("{address}.g");
    let is_there = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    if !is_there() {
        let mut server = Command::new(&own);
        server.args(&arguments[..arguments.len() - 1]).env(OTHER, &address).process_group(0);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("serve");
        tests::eventually("the server", is_there);
    }
    // A bare path: containerd's own way to name the socket of such a shim.
    println!("{}", serde_json::json!({ "version": 3, "address": socket, "protocol": "grpc" }));
    std::io::stdout().flush().expect("print the address");
}

/// The socket that a shim's answer names.
fn address(answer: &[u8]) -> String {
    let message = BootstrapResult::decode(answer).map(|result| result.address).unwrap_or_default();
    let json = serde_json::from_slice::<serde_json::Value>(answer).unwrap_or_default();
    let text = json["address"].as_str().map_or_else(|| String::from_utf8_lossy(answer).into_owned(), str::to_owned);
    let address = if message.is_empty() { text } else { message };
    address.trim().trim_start_matches("unix://").to_owned()
}

fn serve(other: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut watched = UnixStream::connect(other).await.expect("connect to the other shim");
        let path = format!("{other}.g");
        let _stale = std::fs::remove_file(&path);
        let listener = tokio_stream::wrappers::UnixListenerStream::new(UnixListener::bind(&path).expect("listen"));
        let server = tonic::transport::Server::builder().serve_with_incoming(Proxy { other: other.into() }, listener);
        tokio::select! {
            served = server => served.expect("serve"),
            _ended = watched.read_u8() => {}
        }
        std::fs::remove_file(&path).expect("remove the socket");
    });
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Serves every method of every service, so that what is refused is refused by the other.
#[derive(Clone)]
struct Proxy {
    other: String,
}

impl tower::Service<http::Request<tonic::body::Body>> for Proxy {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let call = Call { other: self.other.clone(), path: request.uri().path().to_owned() };
        Box::pin(async move { Ok(Grpc::new(Codec).unary(call, request).await) })
    }
}

struct Call {
    other: String,
    path: String,
}

impl UnaryService<Vec<u8>> for Call {
    type Response = Vec<u8>;
    type Future = Answer<Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Vec<u8>>) -> Self::Future {
        let namespace = request.metadata().get("containerd-namespace").and_then(|value| value.to_str().ok());
        let metadata = vec![KeyValue { key: NAMESPACE_KEY.into(), value: namespace.unwrap_or_default().into() }];
        let (service, method) = self.path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let request = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: request.into_inner().into(),
            timeout_nano: 0,
            metadata,
        };
        let other = self.other.clone();
        Box::pin(async move { ask(&other, &request).await.map(tonic::Response::new) })
    }
}

/// One call over ttrpc, on a connection of its own.
async fn ask(other: &str, request: &Request) -> Result<Vec<u8>, Status> {
    let lost = |error: std::io::Error| Status::unavailable(error.to_string());
    let mut stream = UnixStream::connect(other).await.map_err(lost)?;
    let mut codec = Connection::default();
    let (_, bytes) = codec.call(request).map_err(proto::convert::status)?;
    stream.write_all(&bytes).await.map_err(lost)?;
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await.map_err(lost)?;
        if read == 0 {
            return Err(Status::unavailable("the other shim ended"));
        }
        codec.receive(&chunk[..read]);
        if let Some(Event::Response { result, .. }) = codec.next_event() {
            return result.map(|answer| answer.to_vec()).map_err(proto::convert::status);
        }
    }
}
