//! What every command needs: the global flags and a connection.

use crate::cli::Globals;
use crate::failure::Outcome;
use crate::output;
use client::{Client, DEFAULT_CONNECT_TIMEOUT, Reply as _};
use model::{Error, Namespace, Result, Timestamp};
use std::time::Duration;

/// Set to anything but `0` or `false`, deprecation warnings are kept quiet.
const SUPPRESS: &str = "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS";

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    globals: Globals,
}

impl Context {
    pub(crate) fn new(globals: Globals) -> Self {
        Self { globals }
    }

    /// The namespace that objects are looked for in.
    pub(crate) fn namespace(&self) -> Result<Namespace> {
        Namespace::new(self.globals.namespace.clone())
    }

    /// The daemon's address.
    pub(crate) fn address(&self) -> &str {
        &self.globals.address
    }

    /// Connects, and says which features in use will go away.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let client = self.connect_quietly().await?;
        if !suppressed() {
            match client.introspection().server(()).await.reply() {
                Ok(server) => {
                    for deprecation in server.deprecations {
                        output::warn(&format!("DEPRECATION: {}", deprecation.message));
                    }
                }
                Err(error) => output::warn(&format!("failed to check deprecations: {error}")),
            }
        }
        Ok(client)
    }

    /// Connects.
    pub(crate) async fn connect_quietly(&self) -> Result<Client> {
        let timeout = Some(self.globals.connect_timeout).filter(|timeout| !timeout.is_zero());
        let timeout = timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        let client = Client::connect(&self.globals.address, self.namespace()?, timeout).await?;
        Ok(client.dated(source_date_epoch()))
    }

    /// Does `work` within the time allowed by `--timeout`.
    pub(crate) async fn within_time(&self, work: impl Future<Output = Outcome>) -> Outcome {
        within(self.globals.timeout, work).await
    }

    /// Says something if `--debug` is given.
    pub(crate) fn debug(&self, text: &str) {
        if self.globals.debug {
            output::warn(text);
        }
    }
}

/// Does `work` within `timeout`; zero is for ever.
pub(crate) async fn within(timeout: Duration, work: impl Future<Output = Outcome>) -> Outcome {
    if timeout.is_zero() {
        return work.await;
    }
    match tokio::time::timeout(timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::deadline_exceeded(format!("gave up after {timeout:?} (--timeout)")).into()),
    }
}

/// The time that what is made is dated (reproducible-builds.org).
fn source_date_epoch() -> Option<Timestamp> {
    let text = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(seconds) => Some(Timestamp { seconds, nanos: 0 }),
        Err(error) => {
            output::warn(&format!("SOURCE_DATE_EPOCH {text:?} is no number of seconds: {error}"));
            None
        }
    }
}

fn suppressed() -> bool {
    std::env::var(SUPPRESS).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "f" | "F" | "false" | "False"))
}

/// A moment that is so far away from now.
pub(crate) fn rfc3339_in(duration: Duration) -> String {
    let mut time = Timestamp::now();
    time.seconds = time.seconds.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX));
    time.nanos = 0;
    time.to_rfc3339()
}
