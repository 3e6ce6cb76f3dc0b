//! `ctr leases`

mod create;
mod delete;
mod list;

super::verbs! {
    /// List all active leases
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Create lease
    Create(create::Create),
    /// Delete a lease
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
}
