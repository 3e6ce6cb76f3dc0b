//! `ctr containers create`

use crate::container::{self, ContainerFlags};
use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;

/// Flags of `ctr containers create`.
#[derive(Debug, Args)]
#[command(override_usage = "ctr containers create [flags] Image|RootFS CONTAINER [COMMAND] [ARG...]")]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
    /// Image (or root filesystem) and container id, then the command with its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE ID [COMMAND]")]
    args: Vec<String>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let target = container::target_of_args(&self.args, self.container.config.as_deref())?;
        let client = context.connect().await?;
        Box::pin(container::create(context, &client, &target, &self.container, None)).await?;
        Ok(())
    }
}
