//! Everything a command says: results to stdout, complaints to stderr.

mod dynamic;
mod json;
mod sizes;
mod table;
mod times;

pub(crate) use dynamic::{any_to_json, to_json, to_json_named};
pub(crate) use json::{labels_or_null, print_json};
pub(crate) use sizes::{bytes, human_size};
pub(crate) use table::Table;
pub(crate) use times::{age, go_time, rfc3339_local, timestamp_nanos};

use crate::failure::{Failure, Outcome};
use clap::{Args, ValueEnum};
use model::Error;
use std::io::{self, Write as _};

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// In columns, for people
    #[default]
    Table,
    /// As one JSON document, for programs
    Json,
}

/// The flag of listings.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How to print the result
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
}

impl Output {
    /// Whether JSON is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

/// The code a shell gives to a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Writes to stdout.
pub(crate) fn print(text: &str) -> Outcome {
    written(io::stdout().write_all(text.as_bytes()))
}

/// Writes a line to stdout.
pub(crate) fn line(text: impl AsRef<str>) -> Outcome {
    print(&format!("{}\n", text.as_ref()))
}

/// Writes what is buffered.
pub(crate) fn flush() -> Outcome {
    written(io::stdout().flush())
}

/// A reader that went away is no error worth a word: `ctr images ls | head -1`.
pub(crate) fn written(result: io::Result<()>) -> Outcome {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Exit(BROKEN_PIPE)),
        Err(error) => Err(Error::io("write to stdout", error).into()),
        Ok(()) => Ok(()),
    }
}

/// Says why the command failed.
pub(crate) fn complain(text: &str) {
    // Where stderr is gone, nobody can be told.
    let _ = writeln!(io::stderr(), "ctr: {text}");
}

/// Says what the command has done, where that is no result.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says something that does not stop the command.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "ctr: warning: {text}");
}
