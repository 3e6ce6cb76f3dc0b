//! `ctr images export`

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags;
use clap::Args;
use client::oci::Platform;
use client::transfer::{Endpoint, ExportTo, Naming, Store};
use client::{ExportOptions, Platforms};
use model::Error;
use std::fs::File;
use std::os::fd::AsFd as _;

/// Flags of `ctr images export`.
#[derive(Debug, Args)]
#[command(long_about = "Export images to an OCI tar archive, with the manifest.json by which Docker loads it.")]
pub(crate) struct Export {
    /// Do not add Docker compatible manifest.json to archive
    #[arg(long)]
    skip_manifest_json: bool,
    /// Do not add non-distributable blobs such as Windows layers to archive
    #[arg(long)]
    skip_non_distributable: bool,
    /// Export content for a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Exports content from all platforms
    #[arg(long)]
    all_platforms: bool,
    /// Run export locally rather than through transfer API
    #[arg(long)]
    local: bool,
    /// The archive, `-` for stdout
    #[arg(value_name = "OUT")]
    file: String,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let platforms = flags::platforms(false, &self.platform)?;
        let client = context.connect().await?;
        let output = match self.file.as_str() {
            "-" => std::io::stdout().as_fd().try_clone_to_owned().map(File::from),
            file => File::create(file),
        };
        let output = output.map_err(|error| Error::io(format!("create {}", self.file), error))?;
        // A device or pipe is not ours to remove.
        let is_file = output.metadata().is_ok_and(|metadata| metadata.is_file());
        let board = Board::new("exporting", false);
        let exported = match self.local {
            true => Box::pin(client.export(&self.images, output, &self.options(platforms), &board)).await,
            false => client.transfer(self.source(), self.destination(platforms, output), &board).await,
        };
        board.finish();
        if exported.is_err() && is_file && self.file != "-" {
            // Half an archive is of no use to anybody; the first error is what counts.
            let _ = std::fs::remove_file(&self.file);
        }
        exported.map_err(|error| error.context(format!("export to {}", self.file)))?;
        // The archive itself has stdout; Go's ctr says nothing of what it does by itself.
        if self.local || self.file == "-" { Ok(()) } else { board.summary() }
    }

    fn options(&self, platforms: Vec<Platform>) -> ExportOptions {
        ExportOptions {
            platforms: Platforms::exactly(platforms),
            all_platforms: self.all_platforms,
            docker_manifest: !self.skip_manifest_json,
            non_distributable: !self.skip_non_distributable,
        }
    }

    fn source(&self) -> Endpoint {
        let named = |name: &String| Naming { name: name.clone(), ..Naming::default() };
        Endpoint::Store(Store { references: self.images.iter().map(named).collect(), ..Store::default() })
    }

    fn destination(&self, platforms: Vec<Platform>, output: File) -> Endpoint {
        Endpoint::Export(ExportTo {
            sink: Box::new(output),
            // None are the daemon's own choice.
            platforms: if self.platform.is_empty() { Vec::new() } else { platforms },
            all_platforms: self.all_platforms,
            skip_docker_manifest: self.skip_manifest_json,
            skip_non_distributable: self.skip_non_distributable,
        })
    }
}
