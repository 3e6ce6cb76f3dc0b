//! `ctr tasks kill`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::task::{Process, parse_signal};
use clap::Args;
use model::Error;

/// On a container: the signal that asks its image's process to stop.
const LABEL_STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

const SIGTERM: u32 = 15;

/// Flags of `ctr tasks kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Signal to send to the container (default: the image's, or SIGTERM)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Process ID to kill
    #[arg(long, value_name = "ID")]
    exec_id: Option<String>,
    /// Send signal to all processes inside the container
    #[arg(short, long)]
    all: bool,
    /// The container
    container: String,
}

impl Kill {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.all && self.exec_id.is_some() {
            return Err(Error::invalid_argument("specify an exec-id or all; not both").into());
        }
        let asked = self.signal.as_deref().filter(|signal| !signal.is_empty()).map(parse_signal).transpose()?;
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let signal = match (asked, container.labels.get(LABEL_STOP_SIGNAL)) {
            (Some(signal), _) => signal,
            (None, Some(signal)) => parse_signal(signal)?,
            (None, None) => SIGTERM,
        };
        let process = Process::new(&client, &container.id, self.exec_id.as_deref().unwrap_or_default());
        Ok(process.kill(signal, self.all).await?)
    }
}
