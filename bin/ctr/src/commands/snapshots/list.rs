//! `ctr snapshots list`

use super::info::document;
use super::{Target, kind_name};
use crate::failure::Outcome;
use crate::output::{Output, Table, print_json};
use clap::Args;

/// Flags of `ctr snapshots list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let snapshots = target.list().await?;
        if self.output.is_json() {
            return print_json(&snapshots.iter().map(document).collect::<Vec<_>>());
        }
        let mut table = Table::narrow();
        table.row(["KEY", "PARENT", "KIND"]);
        for snapshot in &snapshots {
            table.row([&snapshot.name, &snapshot.parent, kind_name(snapshot.kind)]);
        }
        table.print()
    }
}
