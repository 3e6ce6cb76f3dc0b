//! An import done by the daemon.

use super::Import;
use crate::commands::progress::Board;
use crate::failure::Outcome;
use crate::flags::labels;
use crate::output::print_json;
use client::oci::Platform;
use client::transfer::{Archive, Endpoint, Naming, Store, Unpack};
use client::{Chunks, Client};
use model::Result;
use std::fs::File;

impl Import {
    /// Sends the archive to the daemon's Transfer service.
    pub(super) async fn transfer(&self, client: &Client, what: &str, input: File) -> Outcome {
        let store = self.store()?;
        let archive = Archive { bytes: Chunks::of_reader(what, input), compress: self.compress_blobs };
        let board = Board::new("storing", self.output.is_json());
        let imported = client.transfer(Endpoint::Import(archive), Endpoint::Store(store), &board).await;
        board.finish();
        imported.map_err(|error| error.context(format!("import {what}")))?;
        if self.output.is_json() { print_json(&board.saved()) } else { board.summary() }
    }

    /// The flag for which ctr has to do the work: the Transfer service has no words for it.
    pub(super) fn needs_local(&self) -> Option<&'static str> {
        let flags = [
            (self.local, "--local"),
            (self.discard_unpacked_layers, "--discard-unpacked-layers"),
            (self.sync_fs, "--sync-fs"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }

    fn store(&self) -> Result<Store> {
        let naming = self.naming();
        let platform = match self.platform.as_deref().filter(|text| !text.is_empty() && !self.all_platforms) {
            Some(text) => Platform::parse(text)?,
            None => Platform::host(),
        };
        let snapshotter = self.snapshotter.name().unwrap_or_default().to_owned();
        let unpack = Unpack { platform: platform.clone(), snapshotter };
        Ok(Store {
            name: self.index_name.clone().unwrap_or_default(),
            labels: labels(&self.label),
            platforms: if self.all_platforms { Vec::new() } else { vec![platform] },
            all_metadata: false,
            unpack: if self.no_unpack { Vec::new() } else { vec![unpack] },
            references: vec![Naming {
                name: naming.prefix,
                is_prefix: true,
                // A prefix of ours gives way to a name in the archive; one that was given chooses among them.
                allow_overwrite: !naming.only_prefix,
                add_digest: naming.digests,
                skip_named_digest: naming.skip_digest_for_named,
            }],
        })
    }
}
