//! The daemon as a process: started in a temporary directory, asked over its socket, stopped.

mod commands;
mod content;
mod daemon;
mod discovery;
mod events;
mod process;
