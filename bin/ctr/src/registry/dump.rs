//! What the registry client says of its work, on stderr.

use tracing_subscriber::EnvFilter;

/// Shows every request and answer from now on (`--http-dump`), or names looked up and connections (`--http-trace`), or
/// both. Credentials are no part of it.
pub(crate) fn requests(dump: bool, trace: bool) {
    match (dump, trace) {
        (true, true) => start("distribution=debug"),
        (true, false) => start("distribution=debug,distribution::trace=off"),
        (false, true) => start("distribution::trace=debug"),
        (false, false) => {}
    }
}

/// Shows what is odd in the configuration of hosts from now on.
pub(crate) fn warnings() {
    start("distribution=warn");
}

fn start(filter: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    // An error means that it was started before, which serves as well.
    drop(subscriber);
}
