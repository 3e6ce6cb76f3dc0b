//! `ctr images export`

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use client::oci::Platform;
use client::{ExportOptions, Platforms};
use model::{Error, Result};
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
    /// Run export locally rather than through transfer API (which is always so)
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
        let platforms = match &self.platform[..] {
            [] => vec![Platforms::host()],
            texts => {
                texts.iter().map(|text| Platform::parse(text).map(Platforms::RunnableOn)).collect::<Result<Vec<_>>>()?
            }
        };
        let options = ExportOptions {
            platforms,
            all_platforms: self.all_platforms,
            docker_manifest: !self.skip_manifest_json,
            non_distributable: !self.skip_non_distributable,
        };
        let client = context.connect().await?;
        let output = match self.file.as_str() {
            "-" => std::io::stdout().as_fd().try_clone_to_owned().map(File::from),
            file => File::create(file),
        };
        let output = output.map_err(|error| Error::io(format!("create {}", self.file), error))?;
        let exported = Box::pin(client.export(&self.images, output, &options)).await;
        if exported.is_err() && self.file != "-" {
            // Half an archive is of no use to anybody; the first error is what counts.
            let _ = std::fs::remove_file(&self.file);
        }
        Ok(exported.map_err(|error| error.context(format!("export to {}", self.file)))?)
    }
}
