//! `ctr namespaces`

mod create;
mod label;
mod list;
mod remove;

super::verbs! {
    /// Create a new namespace
    #[command(visible_alias = "c")]
    Create(create::Create),
    /// List namespaces
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Remove one or more namespaces, which must be empty
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
    /// Set and clear labels for a namespace
    Label(label::Label),
}
