//! A host that failed is left alone for a while, where another can serve.

use crate::{hosts::Host, http::Response};
use model::{Error, Kind, Result};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A failure is paid for with this many times the time that it took: a dead host costs a tenth of the time at most.
const TIMES: u32 = 10;
/// Shortest and longest rest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);
/// Most rests at a time.
const MOST: usize = 256;

/// Which hosts are not asked for now, and why. Clones share them: whoever opens a [`Repository`](super::Repository) now
/// and then keeps one, for a host that is down would else be waited for each time.
#[derive(Clone, Debug, Default)]
pub struct Rests(Arc<Mutex<Vec<Rest>>>);

#[derive(Debug)]
struct Rest {
    /// The registry that the host serves: it may serve others well.
    registry: String,
    /// The host, as it was configured: with other certificates it is another.
    host: Host,
    until: Instant,
    kind: Kind,
    why: String,
}

impl Rests {
    /// Begins one of `host` after a failure that took so long, for as long as the host asks at least.
    pub(super) fn begin(
        &self,
        registry: &str,
        host: &Host,
        outcome: &Result<Response>,
        took: Duration,
        asked: Option<Duration>,
    ) {
        let length = (took * TIMES).max(asked.unwrap_or_default()).clamp(SHORTEST, LONGEST);
        let (kind, why) = match outcome {
            Ok(response) => (Kind::Unavailable, response.status().to_string()),
            Err(error) => (error.kind(), error.to_string()),
        };
        tracing::debug!(%host, registry, why, ?length, "a host is not asked for a while");
        let why = format!("{host} is not asked again so soon after: {why}");
        let mut rests = self.current();
        rests.retain(|rest| !rest.is_of(registry, host));
        // The others will be found out again.
        if rests.len() < MOST {
            let until = Instant::now() + length;
            rests.push(Rest { registry: registry.to_owned(), host: host.clone(), until, kind, why });
        }
    }

    /// # Errors
    /// That of the failure, until the rest of `host` is over.
    pub(super) fn is_over(&self, registry: &str, host: &Host) -> Result<()> {
        match self.current().iter().find(|rest| rest.is_of(registry, host)) {
            Some(Rest { kind, why, .. }) => Err(Error::new(*kind, why.clone())),
            None => Ok(()),
        }
    }

    /// Those that are not over.
    fn current(&self) -> MutexGuard<'_, Vec<Rest>> {
        let mut rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        rests.retain(|rest| rest.until > now);
        rests
    }
}

impl Rest {
    fn is_of(&self, registry: &str, host: &Host) -> bool {
        self.registry == registry && self.host == *host
    }
}
