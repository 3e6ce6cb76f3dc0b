//! What every listing has in common: its flags, and the three ways in which it is printed.

use crate::failure::Outcome;
use crate::output::{Output, Table, line, print_json};
use clap::Args;
use model::Result;
use serde_json::Value;

/// The flags of a listing.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Listing {
    /// Print only names, ids or digests
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

impl Listing {
    /// Prints `items` as one JSON document, as a name a line, or in a table.
    pub(crate) fn print<T>(
        self,
        items: &[T],
        name: impl Fn(&T) -> &str,
        document: impl Fn(&T) -> Result<Value>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Outcome {
        if self.output.is_json() {
            return print_json(&items.iter().map(document).collect::<Result<Vec<Value>>>()?);
        }
        if self.quiet {
            return items.iter().try_for_each(|item| line(name(item)));
        }
        table(items).print()
    }

    /// Whether one JSON document is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.output.is_json()
    }

    /// Whether names are enough.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet && !self.output.is_json()
    }
}
