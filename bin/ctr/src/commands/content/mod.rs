//! `ctr content`

mod active;
mod delete;
mod edit;
mod fetch;
mod fetch_blob;
mod fetch_object;
mod found;
mod get;
mod ingest;
mod label;
mod list;
mod prune;
mod push_object;

pub(crate) use fetch::Fetching;

super::verbs! {
    /// Display active transfers
    Active(active::Active),
    /// Permanently delete one or more blobs
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Edit a blob and return a new digest
    Edit(edit::Edit),
    /// Fetch all content for an image into containerd
    Fetch(fetch::Fetch),
    /// Retrieve objects from a remote
    FetchObject(fetch_object::FetchObject),
    /// Retrieve blobs from a remote
    FetchBlob(fetch_blob::FetchBlob),
    /// Get the data for an object
    Get(get::Get),
    /// Accept content into the store
    Ingest(ingest::Ingest),
    /// List all blobs in the store
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Push an object to a remote
    PushObject(push_object::PushObject),
    /// Add labels to content
    Label(label::Label),
    /// Prunes content from the content store
    #[command(subcommand)]
    Prune(prune::Prune),
}
