//! One error for the whole project: its kinds are the gRPC codes containerd uses.

use std::{error::Error as StdError, fmt, io};

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms a client can act on (the gRPC status codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request can never succeed as it is.
    InvalidArgument,
    /// The object named does not exist.
    NotFound,
    /// The object named exists already.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A bound of ours is exceeded. A full disk is not: containerd calls it [`Kind::Unknown`].
    ResourceExhausted,
    /// The object is not in the state the request needs.
    FailedPrecondition,
    /// The operation was given up; a retry at a higher level may succeed.
    Aborted,
    /// An offset or index lies outside the object.
    OutOfRange,
    /// Not supported here; the caller may try another implementation.
    Unimplemented,
    /// A fault of ours.
    Internal,
    /// Not now: the same call may succeed later.
    Unavailable,
    /// Stored data is lost or corrupt.
    DataLoss,
    /// The caller did not say who it is.
    Unauthenticated,
    /// The caller gave up.
    Cancelled,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// Anything else.
    Unknown,
}

/// An error with a kind, a message that names the object (lower case), and its cause.
///
/// The message does not repeat its cause; [`fmt::Display`] prints the whole chain.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` names the object.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error caused by `source`.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same kind under a message that says what was being done.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self { kind: self.kind, message: message.into(), source: Some(Box::new(self)) }
    }

    /// An I/O error while doing `what`; its kind follows the `errno`.
    pub fn io(what: impl Into<String>, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
            io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
            io::ErrorKind::TimedOut => Kind::DeadlineExceeded,
            io::ErrorKind::Unsupported => Kind::Unimplemented,
            _ => Kind::Unknown,
        };
        Self::new(kind, what).caused_by(error)
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The outermost message, without its causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.kind == Kind::AlreadyExists
    }
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(
                #[doc = concat!("An error of [`Kind::", stringify!($kind), "`].")]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(Kind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    invalid_argument => InvalidArgument,
    not_found => NotFound,
    already_exists => AlreadyExists,
    permission_denied => PermissionDenied,
    resource_exhausted => ResourceExhausted,
    failed_precondition => FailedPrecondition,
    aborted => Aborted,
    out_of_range => OutOfRange,
    unimplemented => Unimplemented,
    internal => Internal,
    unavailable => Unavailable,
    data_loss => DataLoss,
    cancelled => Cancelled,
    deadline_exceeded => DeadlineExceeded,
    unknown => Unknown,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        match &self.source {
            Some(source) => match source.downcast_ref().and_then(errno_text) {
                Some(text) => write!(out, ": {text}"),
                None => write!(out, ": {source}"),
            },
            None => Ok(()),
        }
    }
}

/// The text of an `errno` as Go prints it, which clients look for: "no space left on device".
fn errno_text(error: &io::Error) -> Option<String> {
    let code = error.raw_os_error()?;
    let mut text = error.to_string().replace(&format!(" (os error {code})"), "");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    Some(text)
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {self}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_prints_outermost_first_and_keeps_its_kind() {
        let error = Error::io("open blob", io::Error::from(io::ErrorKind::NotFound)).context("read sha256:ab");
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.to_string(), "read sha256:ab: open blob: entity not found");
    }

    #[test]
    fn a_full_disk_reads_as_in_go() {
        let error = Error::io("write blob", io::Error::from_raw_os_error(28)).context("import");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Unknown, "import: write blob: no space left on device")
        );
    }
}
