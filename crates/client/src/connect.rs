//! The connection to a daemon: one HTTP/2 channel over a unix socket.

use hyper_util::rt::TokioIo;
use model::{Error, Kind, Namespace, Result, Timestamp};
use std::{fmt, io, path::Path, time::Duration};
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};

/// Where a daemon listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";

/// How long a daemon may take to accept a connection (containerd's own client waits as long).
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest path a unix socket's address holds, with its final zero byte.
const SOCKET_PATH_MAX: usize = 108;

/// Bytes in flight on one stream and on the connection: a few content chunks of a megabyte.
const WINDOW: u32 = 4 << 20;

/// A connection that acts in one namespace, and perhaps under a lease.
#[derive(Clone)]
pub struct Client {
    pub(crate) channel: Channel,
    namespace: Namespace,
    pub(crate) headers: Headers,
    source_date_epoch: Option<Timestamp>,
}

/// What every request carries.
#[derive(Clone, Debug)]
pub struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Dials the daemon at `address`, a socket's path with or without `unix://`, at most for `timeout`.
    pub async fn connect(address: &str, namespace: Namespace, timeout: Duration) -> Result<Self> {
        let path = socket_path(address)?;
        // A first connection by hand: its error says why, where the channel's says only that it failed.
        match tokio::time::timeout(timeout, UnixStream::connect(&path)).await {
            Ok(Ok(probe)) => drop(probe),
            Ok(Err(error)) => return Err(refused(&path, error)),
            Err(_) => return Err(too_slow(&path, timeout)),
        }
        let dial = dialer(path.clone());
        let channel = match tokio::time::timeout(timeout, endpoint(timeout).connect_with_connector(dial)).await {
            Ok(connected) => connected.map_err(|error| {
                Error::unavailable(format!("connect to {path}: no gRPC server answers there")).caused_by(error)
            })?,
            Err(_) => return Err(too_slow(&path, timeout)),
        };
        Ok(Self { channel, headers: Headers::new(&namespace)?, namespace, source_date_epoch: None })
    }

    /// Will dial `address`, as [`Self::connect`] does, with the first request, and again after the
    /// connection was lost. Must be called inside a tokio runtime.
    pub fn lazy(address: &str, namespace: Namespace, timeout: Duration) -> Result<Self> {
        let path = socket_path(address)?;
        let channel = endpoint(timeout).connect_with_connector_lazy(dialer(path));
        Ok(Self { channel, headers: Headers::new(&namespace)?, namespace, source_date_epoch: None })
    }

    /// The namespace this client acts in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The same connection; what it creates is held by lease `id`.
    pub fn with_lease(&self, id: &str) -> Result<Self> {
        let lease = header("lease", id)?;
        let headers = Headers { lease: Some(lease), ..self.headers.clone() };
        Ok(Self { headers, ..self.clone() })
    }

    /// The same connection in another namespace, without a lease.
    pub fn in_namespace(&self, namespace: Namespace) -> Result<Self> {
        Ok(Self { headers: Headers::new(&namespace)?, namespace, ..self.clone() })
    }

    /// The same connection; image records and diffs that it has made are dated `time`, if one is given, not now
    /// (`SOURCE_DATE_EPOCH` of reproducible-builds.org).
    #[must_use]
    pub fn dated(self, time: Option<Timestamp>) -> Self {
        Self { source_date_epoch: time, ..self }
    }

    /// The time that records are dated, as messages carry it.
    pub fn source_date_epoch(&self) -> Option<prost_types::Timestamp> {
        self.source_date_epoch.map(|time| prost_types::Timestamp { seconds: time.seconds, nanos: 0 })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Headers {
    fn new(namespace: &Namespace) -> Result<Self> {
        Ok(Self { namespace: header("namespace", namespace.as_str())?, lease: None })
    }

    /// Whether what requests create is held by a lease.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }
}

impl tonic::service::Interceptor for Headers {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

fn socket_path(address: &str) -> Result<String> {
    let path = address.strip_prefix("unix://").unwrap_or(address).to_owned();
    if path.len() >= SOCKET_PATH_MAX {
        return Err(Error::invalid_argument(format!(
            "socket path {path:?} is {} bytes long: a unix socket's path has at most {}",
            path.len(),
            SOCKET_PATH_MAX - 1
        )));
    }
    Ok(path)
}

fn endpoint(timeout: Duration) -> Endpoint {
    // The authority is what Go's client sends: a path would be refused by strict servers.
    Endpoint::from_static("http://localhost")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .connect_timeout(timeout)
}

/// Opens the socket at `path` for a channel.
fn dialer(
    path: String,
) -> impl tower::Service<Uri, Response = TokioIo<UnixStream>, Error = io::Error, Future: Send> + Send {
    tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    })
}

fn header(what: &str, value: &str) -> Result<MetadataValue<Ascii>> {
    value.parse().map_err(|_| Error::invalid_argument(format!("{what} {value:?} is not a header value")))
}

fn too_slow(path: &str, timeout: Duration) -> Error {
    Error::deadline_exceeded(format!(
        "connect to {path}: nobody answered within {timeout:?}: the daemon hangs, or try a longer --connect-timeout"
    ))
}

/// Says what to try, by the reason the kernel gave.
fn refused(path: &str, error: io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::NotFound => (
            Kind::NotFound,
            "is containerd running (systemctl status containerd), and is this its address (--address, \
             CONTAINERD_ADDRESS)?",
        ),
        io::ErrorKind::PermissionDenied => {
            (Kind::PermissionDenied, "only the socket's owner and group may connect: try with sudo")
        }
        io::ErrorKind::ConnectionRefused if Path::new(path).exists() => {
            (Kind::Unavailable, "the socket is there but nobody listens: has containerd stopped?")
        }
        _ => (Kind::Unavailable, "is this a containerd socket?"),
    };
    Error::new(kind, format!("cannot access socket {path}: {advice}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failure(path: &str) -> Error {
        let namespace = Namespace::new("default").unwrap();
        Client::connect(path, namespace, Duration::from_secs(2)).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_failed_connection_says_what_to_try() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("absent.sock");
        let error = failure(missing.to_str().unwrap()).await;
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("is containerd running"), "{error}");

        let dead = folder.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let error = failure(&format!("unix://{}", dead.display())).await;
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("nobody listens"), "{error}");

        let error = failure(&"x".repeat(108)).await;
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }
}
