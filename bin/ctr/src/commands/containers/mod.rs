//! `ctr containers`

mod checkpoint;
mod create;
mod delete;
mod info;
mod label;
pub(crate) mod list;
mod restore;

super::verbs! {
    /// Create container
    Create(create::Create),
    /// Delete one or more existing containers
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Get info about a container
    Info(info::Info),
    /// List containers
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Set and clear labels for a container
    Label(label::Label),
    /// Checkpoint a container
    Checkpoint(checkpoint::Checkpoint),
    /// Restore a container from checkpoint
    Restore(restore::Restore),
}
