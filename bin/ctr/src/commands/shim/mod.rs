//! `ctr shim`: past the daemon, straight to a shim.

mod delete;
mod exec;
mod shutdown;
mod start;
mod state;

use crate::context::Context;
use crate::failure::Outcome;
use clap::{Args, Subcommand};
use client::oci::sha256;
use client::shim::{Connection, Protocol, TaskClient};
use model::{Error, Namespace, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where shims have their sockets.
const SOCKETS: &str = "/run/containerd/s";

/// How long a shim may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Flags of `ctr shim`, before the verb.
#[derive(Debug, Args)]
pub(crate) struct Shim {
    /// shim ID
    #[arg(long)]
    id: Option<String>,
    /// shim address (default: computed from shim ID)
    #[arg(long, value_name = "SOCKET")]
    shim_address: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Delete a container with a task
    Delete(delete::Delete),
    /// Exec a new process in the task's container
    Exec(exec::Exec),
    /// Start a container with a task
    Start(start::Start),
    /// Get the state of all main process of the task
    State(state::State),
    /// Shutdown shim if there is no active container
    Shutdown(shutdown::Shutdown),
}

impl Shim {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match &self.verb {
            Verb::Delete(verb) => verb.run(&self, context).await,
            Verb::Exec(verb) => verb.run(&self, context).await,
            Verb::Start(verb) => verb.run(&self, context).await,
            Verb::State(verb) => verb.run(&self, context).await,
            Verb::Shutdown(verb) => verb.run(&self, context).await,
        }
    }

    /// Connects to the shim, speaking this version of its API.
    async fn connect(&self, context: &Context, version: u32) -> Result<TaskClient> {
        let namespace = context.namespace()?;
        let mut failure = None;
        for address in self.addresses(context, &namespace)? {
            match Connection::connect(Protocol::Ttrpc, &address, TIMEOUT).await {
                Ok(connection) => return TaskClient::new(Arc::new(connection), version, namespace.as_str()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let error = failure.unwrap_or_else(|| Error::not_found("no address to try"));
        Err(error.context("is the shim's socket elsewhere? bootstrap.json in its bundle has the --shim-address"))
    }

    /// Where the shim may listen.
    fn addresses(&self, context: &Context, namespace: &Namespace) -> Result<Vec<String>> {
        if let Some(address) = &self.shim_address {
            return Ok(vec![format!("unix://{}", address.trim_start_matches("unix://"))]);
        }
        let id = self
            .id
            .as_ref()
            .ok_or_else(|| Error::invalid_argument("shim ID (--id) or address (--shim-address) must be specified"))?;
        // The name is a hash of what tells shims apart: daemon, namespace and id.
        let name = sha256(format!("{}/{namespace}/{id}", context.address()).as_bytes());
        let beside = Path::new(context.address()).parent().unwrap_or_else(|| Path::new("/")).join("s");
        let folders = [Path::new(SOCKETS), &beside];
        Ok(folders.iter().map(|folder| format!("unix://{}/{}", folder.display(), name.hex())).collect())
    }
}

/// Which version of the API a shim speaks.
#[derive(Clone, Copy, Debug, Args)]
struct ApiVersion {
    /// shim API version {2,3}
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=3))]
    api_version: u32,
}
