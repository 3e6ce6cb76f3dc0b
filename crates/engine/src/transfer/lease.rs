//! The lease that holds what a transfer writes until its image record does.

use crate::tasks::blocking;
use model::{Labels, Result, Scope, Timestamp};
use store::Store;

/// How long a lease outlives a daemon that dies in the middle, in seconds (containerd's default).
const EXPIRATION: i64 = 24 * 60 * 60;

/// Does `work` in a scope with a lease: the request's own, or one for the time of the work, which is gone
/// afterwards however the work ends, also if its future is dropped.
///
/// # Errors
/// Those of `work`; the store's.
pub async fn under_lease<T>(store: &Store, scope: &Scope, work: impl AsyncFnOnce(Scope) -> Result<T>) -> Result<T> {
    if scope.lease.is_some() {
        return work(scope.clone()).await;
    }
    let (writer, owner) = (store.clone(), scope.clone());
    let held = blocking(move || Held::create(&writer, &owner)).await?;
    let done = work(held.scope.clone()).await;
    // Its deletion reaches the disk before the answer; what then dies with the daemon is nothing.
    let ended = blocking(move || held.end()).await;
    done.and_then(|done| ended.map(|()| done))
}

/// A lease that is deleted on drop.
struct Held {
    store: Store,
    scope: Scope,
    ended: bool,
}

impl Held {
    fn create(store: &Store, owner: &Scope) -> Result<Self> {
        let now = Timestamp::now();
        let id = format!("{}-{}", now.seconds, client::unique_part());
        let expiry = Timestamp { seconds: now.seconds.saturating_add(EXPIRATION), nanos: 0 };
        let labels = Labels::from([("containerd.io/gc.expire".to_owned(), expiry.to_rfc3339())]);
        store.create_lease(owner, &id, labels)?;
        let scope = Scope { lease: Some(id), ..owner.clone() };
        Ok(Self { store: store.clone(), scope, ended: false })
    }

    /// Deletes it; that somebody else did is no error.
    fn end(mut self) -> Result<()> {
        self.ended = true;
        match self.delete() {
            Err(error) if !error.is_not_found() => Err(error.context("delete the lease of a transfer")),
            _ => Ok(()),
        }
    }

    fn delete(&self) -> Result<()> {
        self.store.delete_lease(&self.scope, self.scope.lease.as_deref().unwrap_or_default())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (store, scope) = (self.store.clone(), self.scope.clone());
        // Dropped inside the runtime, where nothing may block. Outside of it the daemon is going down.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                let id = scope.lease.clone().unwrap_or_default();
                if let Err(error) = store.delete_lease(&scope, &id) {
                    tracing::warn!(lease = id, %error, "the lease of a transfer stays until it expires");
                }
            });
        }
    }
}
