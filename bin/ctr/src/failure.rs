//! How a command ends.

use model::Error;

/// The result of a command.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command did not end with success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It did what it should; the exit code is a container's.
    Exit(u8),
    /// It could not.
    Error(Error),
}

impl Failure {
    /// The exit of a process with so many as its status; 0 is success.
    pub(crate) fn of_status(status: u32) -> Outcome {
        match status {
            0 => Ok(()),
            // A status has eight bits, whatever the field has.
            status => Err(Self::Exit(u8::try_from(status & 0xff).unwrap_or(u8::MAX))),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
