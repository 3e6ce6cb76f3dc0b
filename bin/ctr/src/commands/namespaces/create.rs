//! `ctr namespaces create`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::labels;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::namespaces::v1::{CreateNamespaceRequest, Namespace};

/// Flags of `ctr namespaces create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// Its labels
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let labels = labels(&self.labels);
        let namespace = Some(Namespace { name: self.name, labels });
        client.namespaces().create(CreateNamespaceRequest { namespace }).await.reply()?;
        Ok(())
    }
}
