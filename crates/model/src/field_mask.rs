//! Which fields of an object an update touches.

/// The paths of an update; none at all replaces every mutable field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMask(pub Vec<String>);

impl FieldMask {
    /// The paths, in the order given.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether no path is named: the whole mutable set is replaced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
