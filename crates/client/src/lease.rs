//! Leases for the time of one piece of work, so that nothing half-made is collected.

use crate::{Client, Reply};
use model::{Labels, Result, Timestamp};
use proto::api::containerd::services::leases::v1::{CreateRequest, DeleteRequest};
use std::time::Duration;

/// How long a lease outlives its client, should that die (containerd's own default).
pub const DEFAULT_EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);

impl Client {
    /// Creates a lease that expires after `expiration`; without an `id` one is made up. Returns its id.
    pub async fn create_lease(&self, id: Option<&str>, expiration: Option<Duration>) -> Result<String> {
        let mut labels = Labels::new();
        if let Some(expiration) = expiration {
            labels.insert("containerd.io/gc.expire".to_owned(), expires_at(expiration));
        }
        let id = id.map_or_else(unique_lease_id, str::to_owned);
        let reply = self.leases().create(CreateRequest { id, labels }).await.reply()?;
        Ok(reply.lease.unwrap_or_default().id)
    }

    /// Does `work` with a client whose creations are held by a lease, which is deleted afterwards either way.
    /// Under a lease already, that one is used.
    pub async fn under_lease<T>(&self, work: impl AsyncFnOnce(Self) -> Result<T>) -> Result<T> {
        if self.headers.has_lease() {
            return work(self.clone()).await;
        }
        let id = self.create_lease(None, Some(DEFAULT_EXPIRATION)).await?;
        let result = work(self.with_lease(&id)?).await;
        // After a failure what was half done is collected before anybody hears of it.
        let request = DeleteRequest { id, sync: result.is_err() };
        let deleted = self.leases().delete(request).await.reply();
        match (result, deleted) {
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) if !error.is_not_found() => Err(error.context("delete the lease of this work")),
            (Ok(done), _) => Ok(done),
        }
    }
}

/// When something that lives for `expiration` from now ends, as `containerd.io/gc.expire` wants it.
fn expires_at(expiration: Duration) -> String {
    let mut time = Timestamp::now();
    time.seconds = time.seconds.saturating_add(i64::try_from(expiration.as_secs()).unwrap_or(i64::MAX));
    time.nanos = 0;
    time.to_rfc3339()
}

fn unique_lease_id() -> String {
    let now = Timestamp::now();
    format!("{}{:09}-{}", now.seconds, now.nanos, crate::unique::part())
}
