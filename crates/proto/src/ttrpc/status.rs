//! gRPC codes ⇄ the project's error kinds.

use super::Status;
use model::{Error, Kind};

/// Codes in the wire's order: the kind of code `n` stands at index `n - 1`.
const KINDS: [Kind; 16] = [
    Kind::Cancelled,
    Kind::Unknown,
    Kind::InvalidArgument,
    Kind::DeadlineExceeded,
    Kind::NotFound,
    Kind::AlreadyExists,
    Kind::PermissionDenied,
    Kind::ResourceExhausted,
    Kind::FailedPrecondition,
    Kind::Aborted,
    Kind::OutOfRange,
    Kind::Unimplemented,
    Kind::Internal,
    Kind::Unavailable,
    Kind::DataLoss,
    Kind::Unauthenticated,
];

/// `error` as it travels: its code and its whole text.
pub fn status_of(error: &Error) -> Status {
    let index = KINDS.iter().position(|&kind| kind == error.kind()).unwrap_or(1);
    let code = i32::try_from(index).unwrap_or(1) + 1;
    Status { code, message: error.to_string(), details: Vec::new() }
}

/// The error a peer sent; a code of the future is [`Kind::Unknown`].
pub fn error_of(status: Status) -> Error {
    let index = usize::try_from(status.code).unwrap_or(0).wrapping_sub(1);
    Error::new(KINDS.get(index).copied().unwrap_or(Kind::Unknown), status.message)
}
