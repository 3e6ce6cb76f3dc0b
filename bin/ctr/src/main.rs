//! `ctr`: containerd's command line, with Go ctr's commands, aliases, flags and tables.
//!
//! Each command is a file `commands/<noun>/<verb>.rs`: a struct of its flags, and what it does. [`Context`] gives
//! it the global flags and the connection, [`output`] writes tables and JSON.

mod cli;
mod commands;
mod container;
mod context;
mod failure;
mod flags;
mod go_flags;
mod output;
mod registry;
mod task;

use cli::Cli;
use context::Context;
use failure::{Failure, Outcome};

fn main() {
    let outcome = match cli::parsed(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(error) => Failure::of_usage(&error),
    };
    // What the command started in the background (reading stdin, say) must not keep us.
    std::process::exit(i32::from(Failure::code_of(outcome.and_then(|()| output::flush()))))
}

fn run(cli: Cli) -> Outcome {
    // One thread is enough for a client, and starts faster than many.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| model::Error::io("start", error))?;
    let context = Context::new(cli.globals);
    let outcome = runtime.block_on(context.within_time(Box::pin(cli.command.run(&context))));
    // Threads that are blocked on a pipe end with the process.
    runtime.shutdown_background();
    outcome
}
