//! HTTP/2 on a unix socket: connections in, requests to their services, and an orderly end.

use super::{authority::Filter, router::Router, sent::Socket};
use hyper::{
    server::conn::http2,
    service::{Service as _, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{io, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// A client may have this much under way on one stream before we have read it.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same for all streams of a connection: parallel uploads must not wait for each other.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Most requests at once on one connection: a daemon in front of us waits for each of its
/// containers on a stream of its own.
const MAX_STREAMS: u32 = 65_536;
/// Most bytes of a request's headers.
const MAX_HEADERS: u32 = 64 << 10;
/// How long finished answers may take to leave before their connection is cut.
const FLUSH: Duration = Duration::from_secs(2);

/// Serves `listener` until `stop` is set, then lets requests end for up to `drain`.
///
/// Requests that wait for something to happen (events, exits) do not hold the end up; `before_cut` is called before
/// they are cut off.
pub(crate) async fn serve(
    listener: UnixListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
    before_cut: impl FnOnce(),
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stop.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
            // Reaps what has ended, so that the set does not grow.
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, router.idle()).await.is_err() {
        tracing::warn!(requests = router.busy(), "requests did not end in time");
    }
    before_cut();
    // Each connection ends once its last answer has left.
    let flushed = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FLUSH, flushed).await;
}

/// Returns once `stop` is set, or nobody is left who could set it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Out of descriptors or memory: accepting again at once would fail again.
async fn pause_after(error: &io::Error) {
    tracing::error!(%error, "accept connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(stream: UnixStream, router: Router, mut stop: watch::Receiver<bool>) {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS);
    let socket = Socket::new(Filter::new(stream));
    let rounds = socket.rounds();
    let service = service_fn(move |mut request| {
        request.extensions_mut().insert(rounds.clone());
        router.call(request)
    });
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
