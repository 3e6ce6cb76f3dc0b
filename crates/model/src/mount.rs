//! Mounts as containerd passes them around: the arguments of mount(8), not yet done.

/// One mount to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// File system type, or `bind`.
    pub fs_type: String,
    /// Device, directory or name.
    pub source: String,
    /// Path below the root it is mounted into, or empty for the root itself.
    pub target: String,
    /// fstab-style options.
    pub options: Vec<String>,
}
