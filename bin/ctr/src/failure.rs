//! How a command ends, and the exit code for that, as Go's ctr has them.

use crate::output;
use clap::error::ErrorKind;
use model::Error;

/// A command that failed, or a command line that cannot be understood.
const FAILED: u8 = 1;

/// A command that there is not.
const NO_SUCH_COMMAND: u8 = 3;

/// The result of a command.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command did not end with success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is nothing more to say; this is the exit code.
    Exit(u8),
    /// It could not.
    Error(Error),
}

impl Failure {
    /// Failure, if `failed`, of which everything has been said.
    pub(crate) fn when(failed: bool) -> Outcome {
        if failed { Err(Self::Exit(FAILED)) } else { Ok(()) }
    }

    /// Says what is wrong with the command line, or what it asks for: help, the version.
    pub(crate) fn of_usage(error: &clap::Error) -> Outcome {
        output::written(error.print())?;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            ErrorKind::InvalidSubcommand => Err(Self::Exit(NO_SUCH_COMMAND)),
            _ => Err(Self::Exit(FAILED)),
        }
    }

    /// The exit code of the program, once what there is to say has been said.
    pub(crate) fn code_of(outcome: Outcome) -> u8 {
        match outcome {
            Ok(()) => 0,
            Err(Self::Exit(code)) => code,
            Err(Self::Error(error)) => {
                output::complain(&error.to_string());
                FAILED
            }
        }
    }

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
