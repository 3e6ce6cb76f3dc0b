//! `ctr oci`

mod spec;

super::verbs! {
    /// See the output of the default OCI spec
    Spec(spec::Print),
}
