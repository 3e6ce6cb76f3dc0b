//! The daemon's one connection to a shim, in the protocol that the shim said it speaks.

use super::grpc;
use crate::ttrpc;
use model::{Error, Kind, Result};
use prost::Message;
use std::{fmt, io, time::Duration};
use tokio::{net::UnixStream, time};

/// The text of the error that calls end with when the connection closes (as in Go's ttrpc).
const CLOSED: &str = "ttrpc: closed";
/// How often a listener whose backlog is full is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(10);

/// What a shim speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ttrpc: all shims that containerd itself has.
    Ttrpc,
    /// gRPC, with version 3 of the Task service.
    Grpc,
}

impl Protocol {
    /// By its name in a bootstrap, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ttrpc, Self::Grpc].into_iter().find(|protocol| protocol.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ttrpc => "ttrpc",
            Self::Grpc => "grpc",
        })
    }
}

/// One method of one service.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Full service name: `containerd.task.v3.Task`.
    pub service: &'static str,
    /// Method name: `Create`.
    pub name: &'static str,
}

/// A connection to a shim; dropping it closes it.
#[derive(Debug)]
pub enum Connection {
    /// Over ttrpc.
    Ttrpc(ttrpc::Client),
    /// Over gRPC.
    Grpc(grpc::Client),
}

impl Connection {
    /// Connects to a shim's address: `unix://<path>`; or a bare text, which is the name of an abstract socket
    /// for ttrpc and a path for gRPC, as containerd has it.
    ///
    /// # Errors
    /// `Unimplemented` for another scheme, `DeadlineExceeded` after `timeout`, else the socket's.
    pub async fn connect(protocol: Protocol, address: &str, timeout: Duration) -> Result<Self> {
        let path = socket_path(protocol, address)?;
        let connect = async {
            let stream = dial(&path).await.map_err(|error| Error::io(format!("connect to shim {address}"), error))?;
            match protocol {
                Protocol::Ttrpc => Ok(Self::Ttrpc(ttrpc::Client::new(stream))),
                Protocol::Grpc => grpc::Client::new(stream).await.map(Self::Grpc),
            }
        };
        time::timeout(timeout, connect).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("connect to shim {address}: no answer in {timeout:?}")))
        })
    }

    /// What is spoken on it.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Ttrpc(_) => Protocol::Ttrpc,
            Self::Grpc(_) => Protocol::Grpc,
        }
    }

    /// Calls `method` in `namespace` and waits for its answer, at most `timeout`.
    ///
    /// # Errors
    /// The shim's; `DeadlineExceeded` after `timeout`; one that [`is_closed`] when the connection ends first.
    pub async fn call<Q: Message + Clone + 'static, R: Message + Default + 'static>(
        &self,
        method: Method,
        namespace: &str,
        request: &Q,
        timeout: Option<Duration>,
    ) -> Result<R> {
        let exchange = async {
            match self {
                Self::Ttrpc(client) => {
                    let payload = request.encode_to_vec().into();
                    let answer = client.exchange(method, namespace, payload, timeout).await?;
                    let malformed =
                        |error| Error::internal(format!("malformed answer to {}", method.name)).caused_by(error);
                    R::decode(answer).map_err(malformed)
                }
                Self::Grpc(client) => client.exchange(method, namespace, request.clone(), timeout).await,
            }
        };
        let Some(timeout) = timeout else { return exchange.await };
        time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("shim did not answer {} in {timeout:?}", method.name)))
        })
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Ttrpc(client) => client.is_closed(),
            Self::Grpc(client) => client.is_closed(),
        }
    }

    /// Waits until it has ended.
    pub async fn closed(&self) {
        match self {
            Self::Ttrpc(client) => client.closed().await,
            Self::Grpc(client) => client.closed().await,
        }
    }
}

/// The error of a call whose connection ended before the answer.
pub(crate) fn closed() -> Error {
    Error::unavailable(CLOSED)
}

/// Whether `error` says that the connection ended before the answer.
pub fn is_closed(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.message() == CLOSED
}

async fn dial(path: &str) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => time::sleep(BACKLOG_RETRY).await,
            other => return other,
        }
    }
}

/// What tokio connects to: a path, or `\0name` for an abstract socket.
fn socket_path(protocol: Protocol, address: &str) -> Result<String> {
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(path.to_owned());
    }
    match (address.split_once("://"), protocol) {
        (Some((scheme, _)), _) => Err(Error::unimplemented(format!("shim address {address:?}: scheme {scheme:?}"))),
        _ if address.is_empty() => Err(Error::invalid_argument("shim address is empty")),
        (None, Protocol::Grpc) => Ok(address.to_owned()),
        // Shims of containerd 1.3 and before listen on abstract sockets named like paths.
        (None, Protocol::Ttrpc) => Ok(format!("\0{}", address.trim_start_matches('\0'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_age() {
        let of = |address| socket_path(Protocol::Ttrpc, address);
        assert_eq!(of("unix:///run/containerd/s/ab").unwrap(), "/run/containerd/s/ab");
        assert_eq!(of("/containerd-shim/default/x/shim.sock").unwrap(), "\0/containerd-shim/default/x/shim.sock");
        assert_eq!(of("vsock://3:1024").unwrap_err().kind(), Kind::Unimplemented);
        assert_eq!(of("").unwrap_err().kind(), Kind::InvalidArgument);
        for address in ["unix:///run/s", "/run/s"] {
            assert_eq!(socket_path(Protocol::Grpc, address).unwrap(), "/run/s");
        }
    }
}
