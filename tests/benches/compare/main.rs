//! Measures our daemon beside Go containerd.
fn main() {}
