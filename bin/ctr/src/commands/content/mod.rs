//! `ctr content`

mod active;
mod delete;
mod edit;
mod fetch;
mod get;
mod ingest;
mod label;
mod list;
mod prune;

super::verbs! {
    /// Display active transfers
    Active(active::Active),
    /// Permanently delete one or more blobs
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Edit a blob and return a new digest
    Edit(edit::Edit),
    /// Fetch all content for an image into containerd (not yet supported)
    Fetch(fetch::Fetch),
    /// Retrieve objects from a remote (not yet supported)
    FetchObject(fetch::Fetch),
    /// Retrieve blobs from a remote (not yet supported)
    FetchBlob(fetch::Fetch),
    /// Get the data for an object
    Get(get::Get),
    /// Accept content into the store
    Ingest(ingest::Ingest),
    /// List all blobs in the store
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Push an object to a remote (not yet supported)
    PushObject(fetch::Fetch),
    /// Add labels to content
    Label(label::Label),
    /// Prunes content from the content store
    #[command(subcommand)]
    Prune(prune::Prune),
}
