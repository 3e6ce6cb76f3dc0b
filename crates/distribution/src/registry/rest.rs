//! A host that failed is left alone for a while, where another can serve.

use crate::{hosts::Host, http::Response};
use model::{Error, Kind, Result};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A failure is paid for with this many times the time that it took: a dead host costs a tenth of a pull at most.
const TIMES: u32 = 10;
/// Shortest and longest rest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

/// How long a host is not asked, and why.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<Option<(Instant, Kind, String)>>);

impl Rest {
    /// Begins one after a failure that took so long, for as long as the host asks at least.
    pub(super) fn begin(&self, host: &Host, outcome: &Result<Response>, took: Duration, asked: Option<Duration>) {
        let length = (took * TIMES).max(asked.unwrap_or_default()).clamp(SHORTEST, LONGEST);
        let (kind, why) = match outcome {
            Ok(response) => (Kind::Unavailable, response.status().to_string()),
            Err(error) => (error.kind(), error.to_string()),
        };
        tracing::debug!(%host, why, ?length, "a host is not asked for a while");
        let rest = (Instant::now() + length, kind, format!("{host} is not asked again so soon after: {why}"));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }

    /// # Errors
    /// That of the failure, until the rest is over.
    pub(super) fn is_over(&self) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((until, kind, why)) if *until > Instant::now() => Err(Error::new(*kind, why.clone())),
            _ => Ok(()),
        }
    }
}
