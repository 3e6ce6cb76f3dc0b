//! `ctr hosts`: not among Go ctr's commands.

mod attempt;
mod check;

super::verbs! {
    /// Tell which hosts would serve an image, with which credentials, and why
    Check(check::Check),
}
