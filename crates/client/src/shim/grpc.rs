//! A gRPC client of a shim: one HTTP/2 connection that is never dialled again, and whose end is seen.

use super::{Method, closed};
use hyper_util::rt::TokioIo;
use model::{Error, Result};
use prost::Message;
use proto::convert::error_from_status;
use std::{
    error::Error as _,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::watch,
};
use tonic::{
    Code, Request, Status, TimeoutExpired,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// A connection to a gRPC server; dropping it closes the connection.
pub struct Client {
    channel: Channel,
    /// Its sender is dropped with the stream.
    open: watch::Receiver<()>,
}

impl Client {
    /// Speaks gRPC on `stream`.
    pub(super) async fn new(stream: UnixStream) -> Result<Self> {
        let (sender, open) = watch::channel(());
        let mut stream = Some(TokioIo::new(Stream { stream, _open: sender }));
        let once = tower::service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            std::future::ready(stream)
        });
        // The authority is what Go's client sends.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(once).await;
        let channel = channel.map_err(|error| Error::unavailable("shim does not speak gRPC").caused_by(error))?;
        Ok(Self { channel, open })
    }

    /// Sends one request and waits for its answer. The server is told `timeout`; the caller keeps to it.
    pub(super) async fn exchange<Q: Message + 'static, R: Message + Default + 'static>(
        &self,
        method: Method,
        namespace: &str,
        request: Q,
        timeout: Option<Duration>,
    ) -> Result<R> {
        let path = format!("/{}/{}", method.service, method.name);
        let path = PathAndQuery::try_from(path)
            .map_err(|error| Error::internal(format!("name of method {}", method.name)).caused_by(error))?;
        let mut request = Request::new(request);
        let namespace = namespace
            .parse()
            .map_err(|_| Error::invalid_argument(format!("namespace {namespace:?} is not a header value")))?;
        request.metadata_mut().insert("containerd-namespace", namespace);
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|_| closed())?;
        let answer = client.unary(request, path, ProstCodec::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| failure(&status))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.open.has_changed().is_err()
    }

    pub(super) async fn closed(&self) {
        // Nothing is ever sent: this ends, with an error, when the sender is dropped.
        let _dropped = self.open.clone().changed().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A status the server sent has no cause; what the transport reports instead of one has.
fn failure(status: &Status) -> Error {
    let Some(cause) = status.source() else { return error_from_status(status) };
    if cause.is::<TimeoutExpired>() {
        return Error::deadline_exceeded("shim did not answer in time");
    }
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled => closed(),
        _ => error_from_status(status),
    }
}

/// A socket whose end is seen by whoever holds the receiver.
struct Stream {
    stream: UnixStream,
    _open: watch::Sender<()>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
