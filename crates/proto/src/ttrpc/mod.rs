//! ttrpc, the protocol between containerd and its shims, without any I/O.
//!
//! A message is a ten-byte header and at most 4 MiB of payload:
//!
//! ```text
//! 0        4           8      9       10
//! | length | stream id | kind | flags | payload …       integers big-endian
//! ```
//!
//! A client opens odd, increasing stream ids with a [`Request`]; the server ends a stream
//! with a [`Response`]. [`server::Connection`] and [`client::Connection`] take the bytes
//! read from a socket and give what arrived and what to write, so that the shim's epoll
//! loop and the daemon's async tasks share one implementation. [`Decoder`] and [`Frame`]
//! are the layer below. Kinds and flags of a newer peer are kept as numbers and ignored.

pub mod client;
mod frame;
mod message;
pub mod server;
mod status;
#[cfg(test)]
mod tests;

pub use frame::{Decoder, Flags, Frame, HEADER_LEN, Kind, MAX_PAYLOAD, Oversize};
pub use message::{KeyValue, Request, Response};
pub use status::{error_of, status_of};

/// The wire's error: a gRPC code and a message.
pub use crate::api::google::rpc::Status;

/// Metadata key under which ttrpc callers name their containerd namespace.
pub const NAMESPACE_KEY: &str = "containerd-namespace-ttrpc";
