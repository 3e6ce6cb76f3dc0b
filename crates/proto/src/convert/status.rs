//! Errors ⇄ gRPC status.
//!
//! containerd's Go clients rebuild an error's class from the code, and tell some classes
//! apart by the end of the message: `…: not found`. Servers therefore end their messages
//! with the class, and clients take it off again.

use model::{Error, Kind};
use tonic::{Code, Status};

/// Each kind with its code and containerd's words for it (empty: none are appended).
const KINDS: [(Kind, Code, &str); 16] = [
    (Kind::InvalidArgument, Code::InvalidArgument, "invalid argument"),
    (Kind::NotFound, Code::NotFound, "not found"),
    (Kind::AlreadyExists, Code::AlreadyExists, "already exists"),
    (Kind::PermissionDenied, Code::PermissionDenied, "permission denied"),
    (Kind::ResourceExhausted, Code::ResourceExhausted, "resource exhausted"),
    (Kind::FailedPrecondition, Code::FailedPrecondition, "failed precondition"),
    (Kind::Aborted, Code::Aborted, "aborted"),
    (Kind::OutOfRange, Code::OutOfRange, "out of range"),
    (Kind::Unimplemented, Code::Unimplemented, "not implemented"),
    (Kind::Internal, Code::Internal, "internal"),
    (Kind::Unavailable, Code::Unavailable, "unavailable"),
    (Kind::DataLoss, Code::DataLoss, "data loss"),
    (Kind::Unauthenticated, Code::Unauthenticated, "unauthenticated"),
    (Kind::Cancelled, Code::Cancelled, "context canceled"),
    (Kind::DeadlineExceeded, Code::DeadlineExceeded, "context deadline exceeded"),
    (Kind::Unknown, Code::Unknown, ""),
];

/// Longest message sent: it travels in an HTTP/2 header, and peers bound those.
const MAX_MESSAGE: usize = 4096;

/// `error` as a gRPC status.
#[allow(clippy::needless_pass_by_value, reason = "stands in `map_err(status)`")]
pub fn status(error: Error) -> Status {
    let (_, code, class) = KINDS.iter().find(|(kind, ..)| *kind == error.kind()).unwrap_or(&KINDS[15]);
    let mut message = error.to_string();
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    if !class.is_empty() && !message.ends_with(class) && !told_apart_by_suffix(&message) {
        message = if message.is_empty() { (*class).to_owned() } else { format!("{message}: {class}") };
    }
    Status::new(*code, message)
}

/// Classes that share a code with another and are known by the end of the message alone.
fn told_apart_by_suffix(message: &str) -> bool {
    message.ends_with(": conflict") || message.ends_with(": not modified")
}

/// The error a peer sent.
pub fn error_from_status(status: &Status) -> Error {
    let (kind, _, class) = KINDS.iter().find(|(_, code, _)| *code == status.code()).unwrap_or(&KINDS[15]);
    let message = status.message();
    let bare = if class.is_empty() { message } else { message.strip_suffix(class).unwrap_or(message) };
    Error::new(*kind, if bare.is_empty() { message } else { bare.strip_suffix(": ").unwrap_or(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_ends_with_its_class_once() {
        for (error, expected) in [
            (Error::not_found("image \"a\""), "image \"a\": not found"),
            (Error::not_found("image \"a\": not found"), "image \"a\": not found"),
            (Error::not_found(""), "not found"),
            (Error::unknown("odd"), "odd"),
            (Error::failed_precondition("lease a: conflict"), "lease a: conflict"),
            (Error::unimplemented("pause"), "pause: not implemented"),
        ] {
            assert_eq!(status(error).message(), expected);
        }
    }

    #[test]
    fn errors_survive_the_round_trip() {
        for (kind, ..) in KINDS {
            for message in ["object \"x\"", "", "ends oddly not found"] {
                let back = error_from_status(&status(Error::new(kind, message)));
                assert_eq!(back.kind(), kind);
                if !message.is_empty() {
                    assert_eq!(back.message(), message, "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let sent = status(Error::unknown("ä".repeat(4000)));
        assert!(sent.message().len() <= MAX_MESSAGE + 4);
    }
}
