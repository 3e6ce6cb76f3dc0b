//! gRPC statuses as the project's one error.

use model::{Error, Kind, Result};
use tonic::{Code, Status};

/// Unwraps a reply: `client.call(request).await.reply()?`.
pub trait Reply<T> {
    /// The message, or the status as [`model::Error`].
    fn reply(self) -> Result<T>;
}

impl<T> Reply<T> for Result<tonic::Response<T>, Status> {
    fn reply(self) -> Result<T> {
        self.map(tonic::Response::into_inner).map_err(error_of)
    }
}

/// The error a status stands for. The daemon's text is kept as it is: it names the object.
#[allow(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
pub fn error_of(status: Status) -> Error {
    if lost_connection(&status) {
        return Error::unavailable(format!(
            "lost the connection to containerd: did the daemon stop? ({})",
            status.message()
        ));
    }
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    Error::new(kind(status.code()), message)
}

/// Whether the status was made on this side, because the transport failed.
fn lost_connection(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(|source| source.is::<tonic::transport::Error>())
}

fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::ResourceExhausted,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        Code::OutOfRange => Kind::OutOfRange,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal => Kind::Internal,
        Code::Unavailable => Kind::Unavailable,
        Code::DataLoss => Kind::DataLoss,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::Cancelled => Kind::Cancelled,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Ok | Code::Unknown => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_text_and_code_survive() {
        let error = error_of(Status::not_found("image \"a\": not found"));
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "image \"a\": not found"));
        assert!(!error_of(Status::new(Code::Aborted, "")).to_string().is_empty());
    }
}
