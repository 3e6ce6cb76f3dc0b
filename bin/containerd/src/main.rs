//! The containerd daemon.
mod config;
fn main() { let l = config::Loaded::defaults().unwrap(); println!("{}", l.render()); }
