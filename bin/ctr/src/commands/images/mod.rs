//! `ctr images`

mod check;
mod convert;
mod delete;
mod export;
mod import;
mod inspect;
mod label;
mod list;
mod mount;
mod prune;
mod pull;
mod push;
mod tag;
mod unmount;
mod usage;

super::verbs! {
    /// Check existing images to ensure all content is available locally
    Check(check::Check),
    /// Export images
    Export(export::Export),
    /// Import images
    Import(import::Import),
    /// Inspect an image
    #[command(visible_alias = "i")]
    Inspect(inspect::Inspect),
    /// List images known to containerd
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Mount an image to a target path
    Mount(mount::Mount),
    /// Unmount the image from the target
    Unmount(unmount::Unmount),
    /// Pull an image from a remote
    Pull(pull::Pull),
    /// Push an image to a remote
    Push(push::Push),
    /// Convert an image
    Convert(convert::Convert),
    /// Remove unused images
    Prune(prune::Prune),
    /// Remove one or more images by reference
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Tag an image
    Tag(tag::Tag),
    /// Set and clear labels for an image
    Label(label::Label),
    /// Display usage of snapshots for a given image ref
    Usage(usage::Usage),
}
