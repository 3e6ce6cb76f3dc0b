//! `ctr deprecations`

mod list;

super::verbs! {
    /// Print warnings for deprecations
    #[command(visible_alias = "ls")]
    List(list::List),
}
