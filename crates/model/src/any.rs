//! A typed value whose bytes are opaque to us.

/// A client's typed value: kept and returned byte for byte, never re-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Any {
    /// The bare full type name (containerd adds no `type.googleapis.com/`).
    pub type_url: String,
    /// Protobuf or JSON, as the type says.
    pub value: Vec<u8>,
}
