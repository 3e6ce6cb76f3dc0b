//! The two envelopes of a call.

use super::{Flags, Frame, Kind, Status};
use bytes::Bytes;
use prost::Message;

/// Opens a call; the payload is the method's own request message.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Full service name, `containerd.task.v3.Task` say.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Method name, `Create` say.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The encoded request message.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// Nanoseconds the caller will wait; 0 for ever.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
    /// Headers; a key may repeat.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

impl Request {
    /// The first value of metadata `key` (keys are compared without case).
    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)).map(|entry| entry.value.as_str())
    }

    /// How long the caller will wait, if not for ever.
    pub fn timeout(&self) -> Option<std::time::Duration> {
        u64::try_from(self.timeout_nano).ok().filter(|&nanos| nanos > 0).map(std::time::Duration::from_nanos)
    }
}

/// One header of a call.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct KeyValue {
    /// Lower case by custom.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Any text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Ends a call: a status that is absent or 0 means success.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// What went wrong.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The encoded response message.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

impl Response {
    /// A success or an error as the wire has it. Go clients want a status even for success.
    pub fn from_result(result: Result<Bytes, Status>) -> Self {
        match result {
            Ok(payload) => Self { status: Some(Status::default()), payload },
            Err(status) => Self { status: Some(status), payload: Bytes::new() },
        }
    }

    /// The method's response message, or the error.
    ///
    /// # Errors
    /// The status, when its code is not 0.
    pub fn into_result(self) -> Result<Bytes, Status> {
        match self.status {
            Some(status) if status.code != 0 => Err(status),
            _ => Ok(self.payload),
        }
    }

    /// The response as a frame's bytes; one too large for the wire becomes a
    /// `ResourceExhausted` error in its place, so that the caller hears of it.
    pub fn encode_frame(&self, stream: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = |payload: Vec<u8>| Frame {
            stream,
            kind: Kind::RESPONSE,
            flags: Flags::NONE,
            payload: Bytes::from(payload),
        };
        if let Err(oversize) = frame(self.encode_to_vec()).encode(&mut out) {
            let status = super::status_of(&model::Error::resource_exhausted(oversize.to_string()));
            let refusal = Self { status: Some(status), payload: Bytes::new() };
            // A status of one line is far below the limit.
            let _fits = frame(refusal.encode_to_vec()).encode(&mut out);
        }
        out
    }
}
