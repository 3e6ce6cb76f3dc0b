//! `ctr images import`

mod transfer;

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{SnapshotterFlag, labels};
use crate::output::{Output, line, print_json};
use clap::Args;
use client::oci::Platform;
use client::{Client, ImportOptions, Imported, Naming, Platforms, Unpacker};
use model::{Error, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// Flags of `ctr images import`.
#[derive(Debug, Args)]
#[command(long_about = "Import images from a tar stream, plain or compressed with gzip or zstd.\n\n\
    Implemented formats:\n- oci.v1\n- docker.v1.1\n- docker.v1.2\n\n\
    An OCI archive may name images only by their tags; --base-name says what comes before. Without it a name \
    is made up from the date.")]
pub(crate) struct Import {
    /// Base image name for added images, when provided only images with this name prefix are imported
    #[arg(long, value_name = "NAME")]
    base_name: Option<String>,
    /// Whether to create digest images
    #[arg(long)]
    digests: bool,
    /// Skip applying --digests option to images named in the importing tar
    #[arg(long)]
    skip_digest_for_named: bool,
    /// Image name to keep index as, by default index is discarded
    #[arg(long, value_name = "NAME")]
    index_name: Option<String>,
    /// Imports content for all platforms
    #[arg(long)]
    all_platforms: bool,
    /// Imports content for specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Skip unpacking the images, cannot be used with --discard-unpacked-layers
    #[arg(long)]
    no_unpack: bool,
    /// Run import locally rather than through transfer API
    #[arg(long)]
    local: bool,
    /// Compress uncompressed blobs when creating manifest (Docker format only)
    #[arg(long)]
    compress_blobs: bool,
    /// Allow the garbage collector to clean layers up from the content store after unpacking
    #[arg(long)]
    discard_unpacked_layers: bool,
    /// Synchronize the underlying filesystem containing files when unpack images
    #[arg(long)]
    sync_fs: bool,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    /// Labels to attach to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[command(flatten)]
    output: Output,
    /// The archive, `-` for stdin
    #[arg(value_name = "IN")]
    file: String,
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let flag = self.needs_local();
        self.check(flag.is_some())?;
        let input = open(&self.file)?;
        let client = context.connect().await?;
        let what = if self.file == "-" { "stdin" } else { &self.file };
        let Some(flag) = flag else { return self.transfer(&client, what, input).await };
        context.debug(&format!("ctr imports by itself, for {flag}"));
        let board = Arc::new(Board::new("storing", self.output.is_json()));
        let imported =
            client.under_lease(async |client: Client| self.import(&client, what, input, board.clone()).await).await;
        board.finish();
        let imported = imported?;
        if self.output.is_json() {
            let list = imported.iter().map(|image| json!({"name": image.name, "digest": image.target.digest.as_str()}));
            return print_json(&list.collect::<Vec<Value>>());
        }
        if self.no_unpack {
            return Ok(());
        }
        imported.iter().try_for_each(|image| line(format!("unpacking {} ({})...done", image.name, image.target.digest)))
    }

    async fn import(&self, client: &Client, what: &str, input: File, board: Arc<Board>) -> Result<Vec<Imported>> {
        let unpacker = match self.no_unpack {
            true => None,
            false => Some(Unpacker::new(client, self.snapshotter.name(), self.sync_fs, board.clone()).await?),
        };
        let platforms = match self.platform.as_deref().filter(|text| !text.is_empty()) {
            _ if self.all_platforms => Platforms::All,
            Some(text) => Platforms::exactly(vec![Platform::parse(text)?]),
            None => Platforms::host(),
        };
        let options = ImportOptions {
            naming: self.naming(),
            index_name: self.index_name.clone().filter(|name| !name.is_empty()),
            platforms,
            labels: labels(&self.label),
            unpacker,
            compress: self.compress_blobs,
            discard_layers: self.discard_unpacked_layers,
            progress: board,
        };
        Box::pin(client.import(what, input, &options)).await
    }

    /// Refuses flags that contradict each other; one of them only where ctr does the work, as Go's ctr.
    fn check(&self, local: bool) -> Result<()> {
        if self.discard_unpacked_layers && self.no_unpack {
            return Err(Error::invalid_argument("--discard-unpacked-layers and --no-unpack are incompatible options"));
        }
        if local && self.skip_digest_for_named && !self.digests {
            return Err(Error::invalid_argument("--skip-digest-for-named must be specified with --digests option"));
        }
        Ok(())
    }

    fn naming(&self) -> Naming {
        let base = self.base_name.clone().filter(|name| !name.is_empty());
        Naming {
            only_prefix: base.is_some(),
            prefix: base.unwrap_or_else(|| jiff::ZonedDateTime::now().strftime("import-%Y-%m-%d").to_string()),
            digests: self.digests,
            skip_digest_for_named: self.skip_digest_for_named,
        }
    }
}

fn open(file: &str) -> Result<File> {
    let opened = match file {
        "-" => std::io::stdin().as_fd().try_clone_to_owned().map(File::from),
        file => File::open(file),
    };
    opened.map_err(|error| Error::io(format!("open {file}"), error))
}
