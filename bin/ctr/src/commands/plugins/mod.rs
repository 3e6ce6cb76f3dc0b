//! `ctr plugins`

mod inspect_runtime;
mod list;

super::verbs! {
    /// Lists containerd plugins
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Display runtime info
    InspectRuntime(inspect_runtime::InspectRuntime),
}
