//! The commands.

mod absent;
mod completion;
mod containers;
mod content;
mod deprecations;
mod events;
mod hosts;
mod images;
mod info;
mod leases;
mod listing;
mod man;
mod namespaces;
mod oci;
mod plugins;
mod progress;
mod run;
mod shim;
mod snapshots;
mod tasks;
mod version;

use crate::context::Context;
use crate::failure::Outcome;
use clap::Subcommand;

/// Every command.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for the whole run of the program")]
pub(crate) enum Command {
    /// Provides information about containerd plugins
    #[command(visible_alias = "plugin", subcommand)]
    Plugins(plugins::Verb),
    /// Print the client and server versions
    Version(version::Version),
    /// Manage containers
    #[command(visible_aliases = ["c", "container"], subcommand)]
    Containers(containers::Verb),
    /// Manage content
    #[command(subcommand)]
    Content(content::Verb),
    /// Display containerd events
    #[command(visible_alias = "event")]
    Events(events::Events),
    /// Find out how registries are reached
    #[command(subcommand)]
    Hosts(hosts::Verb),
    /// Manage images
    #[command(visible_aliases = ["image", "i"], subcommand)]
    Images(images::Verb),
    /// Manage leases
    #[command(subcommand)]
    Leases(leases::Verb),
    /// Manage namespaces
    #[command(visible_aliases = ["namespace", "ns"], subcommand)]
    Namespaces(namespaces::Verb),
    /// Run a container
    Run(run::Run),
    /// Manage snapshots
    #[command(visible_alias = "snapshot")]
    Snapshots(snapshots::Snapshots),
    /// Manage tasks
    #[command(visible_aliases = ["t", "task"], subcommand)]
    Tasks(tasks::Verb),
    /// OCI tools
    #[command(subcommand)]
    Oci(oci::Verb),
    /// Print the server info
    Info(info::Info),
    /// Print warnings for deprecations
    #[command(subcommand)]
    Deprecations(deprecations::Verb),
    /// Interact with a shim directly
    Shim(shim::Shim),
    /// Manage sandboxes (not supported)
    #[command(visible_aliases = ["sandbox", "sb", "s"], hide = true)]
    Sandboxes(absent::Absent),
    /// Install a new package (not supported)
    #[command(hide = true)]
    Install(absent::Absent),
    /// Provide golang pprof outputs for containerd (not supported)
    #[command(hide = true)]
    Pprof(absent::Absent),
    /// Print a script that completes commands and flags
    Completion(completion::Completion),
    /// Write manual pages
    Man(man::Man),
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Plugins(verb) => verb.run(context).await,
            Self::Version(version) => version.run(context).await,
            Self::Containers(verb) => verb.run(context).await,
            Self::Content(verb) => verb.run(context).await,
            Self::Events(events) => events.run(context).await,
            Self::Hosts(verb) => verb.run(context).await,
            Self::Images(verb) => verb.run(context).await,
            Self::Leases(verb) => verb.run(context).await,
            Self::Namespaces(verb) => verb.run(context).await,
            Self::Run(run) => run.run(context).await,
            Self::Snapshots(snapshots) => snapshots.run(context).await,
            Self::Tasks(verb) => verb.run(context).await,
            Self::Oci(verb) => verb.run(context).await,
            Self::Info(info) => info.run(context).await,
            Self::Deprecations(verb) => verb.run(context).await,
            Self::Shim(shim) => shim.run(context).await,
            Self::Sandboxes(absent) => absent.refuse("sandboxes", "containers run without one, see `ctr run`"),
            Self::Install(absent) => absent.refuse("install", "unpack the image with `ctr images mount` and copy"),
            Self::Pprof(absent) => absent.refuse("pprof", "the daemon is no Go program, perf(1) profiles it"),
            Self::Completion(completion) => completion.run(),
            Self::Man(man) => man.run(),
        }
    }
}

/// An enum of the verbs of a noun, each of which is a struct with an async `run(self, &Context)`.
macro_rules! verbs {
    ($($(#[$meta:meta])* $verb:ident($flags:ty)),* $(,)?) => {
        /// What can be done.
        #[derive(Debug, clap::Subcommand)]
        #[allow(clippy::large_enum_variant, reason = "there is one, for the whole run of the program")]
        pub(crate) enum Verb {
            $($(#[$meta])* $verb($flags),)*
        }

        impl Verb {
            pub(crate) async fn run(self, context: &crate::context::Context) -> crate::failure::Outcome {
                match self {
                    $(Self::$verb(verb) => Box::pin(verb.run(context)).await,)*
                }
            }
        }
    };
}
use verbs;
