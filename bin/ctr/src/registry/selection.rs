//! Which part of an image is wanted, as flags say it.

use super::Metadata;
use clap::Args;
use client::oci::Platform;
use model::{Labels, Result};

/// Flags of the commands that bring an image in.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Labels to attach to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Pull content from a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Pull content and metadata from all platforms
    #[arg(long)]
    pub(crate) all_platforms: bool,
    /// (Deprecated: use skip-metadata) Pull metadata for all platforms
    #[arg(long, hide = true)]
    all_metadata: bool,
    /// Skips metadata for unused platforms (Image may be unable to be pushed without metadata)
    #[arg(long)]
    skip_metadata: bool,
}

impl Selection {
    /// The platforms wanted; none for all of them.
    pub(crate) fn platforms(&self) -> Result<Vec<Platform>> {
        crate::flags::platforms(self.all_platforms, &self.platform)
    }

    /// Whether platforms are given by name.
    pub(crate) fn names_platforms(&self) -> bool {
        !self.platform.is_empty()
    }

    /// The labels of the image's record.
    pub(crate) fn labels(&self) -> Labels {
        crate::flags::labels(&self.label)
    }

    /// Which documents are wanted beside the layers.
    pub(crate) fn metadata(&self) -> Metadata {
        if self.skip_metadata { Metadata::Needed } else { Metadata::All }
    }
}
