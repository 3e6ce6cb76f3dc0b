//! The daemon as a process: started in a temporary directory, asked over its socket, stopped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod commands;
mod content;
mod daemon;
mod discovery;
mod events;
mod process;
mod proxy;
