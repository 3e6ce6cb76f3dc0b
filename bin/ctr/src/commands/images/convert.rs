//! `ctr images convert`

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags;
use crate::output::line;
use clap::Args;
use client::{Compression, ConvertOptions, Platforms};
use model::Error;
use std::sync::Arc;

/// Flags of `ctr images convert`.
#[derive(Debug, Args)]
#[command(long_about = "Convert an image format.\n\n\
    Layers can be stored uncompressed (--uncompress), as gzip (--gzip) or as zstd (--zstd), and Docker's media types \
    become OCI's with --oci. The image's files stay what they are: each layer is checked against the configuration. \
    Prints the digest of the result.\n\n\
    Of several platforms, this machine's is kept unless --platform or --all-platforms says otherwise; with \
    --all-platforms every image of an index must be in the store.")]
pub(crate) struct Convert {
    /// Convert tar.gz layers to uncompressed tar layers
    #[arg(long, group = "layers")]
    uncompress: bool,
    /// Convert layers to tar.gz layers
    #[arg(long, group = "layers")]
    gzip: bool,
    /// Convert layers to zstd layers
    #[arg(long, group = "layers")]
    zstd: bool,
    /// Convert Docker media types to OCI media types
    #[arg(long)]
    oci: bool,
    /// Convert layers to EROFS format (not supported)
    #[arg(long, value_name = "FORMAT")]
    erofs: Option<String>,
    /// Specify compression algorithm list when converting EROFS layers (not supported)
    #[arg(long, value_name = "LIST", hide = true)]
    erofs_compressors: Option<String>,
    /// Extra mkfs options applied when converting EROFS layers (not supported)
    #[arg(long, value_name = "OPTIONS", hide = true)]
    erofs_mkfs_options: Option<String>,
    /// Keep content for a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Keep content for all platforms
    #[arg(long)]
    all_platforms: bool,
    /// The image
    #[arg(value_name = "SOURCE_REF")]
    source: String,
    /// The name of the result
    #[arg(value_name = "TARGET_REF")]
    target: String,
}

impl Convert {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.erofs.is_some() || self.erofs_compressors.is_some() || self.erofs_mkfs_options.is_some() {
            return Err(Error::unimplemented("--erofs is not supported").into());
        }
        let board = Arc::new(Board::new("converting", false));
        let options = ConvertOptions {
            platforms: Platforms::exactly(flags::platforms(self.all_platforms, &self.platform)?),
            layers: self.compression(),
            oci: self.oci,
            progress: Arc::clone(&board) as _,
        };
        let client = context.connect().await?;
        let converted = client.convert(&self.source, &self.target, &options).await;
        board.finish();
        let converted = converted.map_err(|error| error.context(format!("convert {}", self.source)))?;
        line(converted.digest.as_str())
    }

    fn compression(&self) -> Option<Compression> {
        match (self.uncompress, self.gzip, self.zstd) {
            (true, ..) => Some(Compression::None),
            (_, true, _) => Some(Compression::Gzip),
            (.., true) => Some(Compression::Zstd),
            _ => None,
        }
    }
}
