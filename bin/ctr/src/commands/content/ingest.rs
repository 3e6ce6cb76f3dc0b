//! `ctr content ingest`

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use client::{Chunks, Expect};
use model::Labels;

/// Flags of `ctr content ingest`.
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Validate against provided size
    #[arg(long, value_name = "BYTES")]
    expected_size: Option<u64>,
    /// Verify content against expected digest
    #[arg(long, value_name = "DIGEST")]
    expected_digest: Option<String>,
    /// Name of the ingest
    key: String,
}

impl Ingest {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let digest = self.expected_digest.filter(|digest| !digest.is_empty());
        let digest = digest.map(|digest| digest.parse()).transpose()?;
        let size = self.expected_size.filter(|&size| size > 0);
        let client = context.connect().await?;
        let expect = Expect { digest, size, labels: Labels::new() };
        let source = Chunks::of_reader("stdin", std::io::stdin());
        client.write_blob(&self.key, &expect, source).await?;
        Ok(())
    }
}
