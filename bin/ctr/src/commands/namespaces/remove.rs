//! `ctr namespaces remove`

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{complain, line, warn};
use clap::Args;
use client::Reply as _;
use model::{Error, Kind};
use proto::api::containerd::services::namespaces::v1::DeleteNamespaceRequest;
use std::path::Path;

/// Flags of `ctr namespaces remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Delete the namespace's cgroup
    #[arg(short, long)]
    cgroup: bool,
    /// The namespaces
    names: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let mut failed = false;
        for name in &self.names {
            match client.namespaces().delete(DeleteNamespaceRequest { name: name.clone() }).await.reply() {
                Err(error) if !error.is_not_found() => {
                    let error = error.context(format!("unable to delete {name}"));
                    complain(&error.to_string());
                    let hint = "a namespace must be empty: remove its tasks, containers, images and snapshots first";
                    if error.kind() == Kind::FailedPrecondition {
                        warn(hint);
                    }
                    failed = true;
                }
                _ => {
                    if self.cgroup {
                        remove_cgroups(name)?;
                    }
                    line(name)?;
                }
            }
        }
        Failure::when(failed)
    }
}

/// Removes the cgroups that containers of the namespace were in. One that is in use is an error.
fn remove_cgroups(name: &str) -> Result<(), Error> {
    model::validate_identifier(name)?;
    let root = Path::new("/sys/fs/cgroup");
    let failed = |error| Error::io(format!("remove the cgroup of namespace {name}"), error);
    // Version 2 has one hierarchy, version 1 one for each controller.
    let mut folders = vec![root.join(name)];
    for entry in std::fs::read_dir(root).map_err(failed)? {
        folders.push(entry.map_err(failed)?.path().join(name));
    }
    for folder in folders.iter().filter(|folder| folder.is_dir() && folder.join("cgroup.procs").exists()) {
        std::fs::remove_dir(folder).map_err(failed)?;
    }
    Ok(())
}
