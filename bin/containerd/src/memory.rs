//! Gives memory back after work that took much of it: the start, and bursts of requests.

use crate::grpc::Router;
use std::time::Duration;

/// How often it is looked whether work has ended.
const PERIOD: Duration = Duration::from_secs(5);

/// Shrinks now, and a moment after the last of each burst of requests, for as long as we run.
pub(crate) async fn shrink_when_idle(router: Router) {
    shrink().await;
    let mut shrunk_at = 0;
    loop {
        tokio::time::sleep(PERIOD).await;
        let served = router.served();
        if served != shrunk_at && router.busy() == 0 {
            shrunk_at = served;
            shrink().await;
        }
    }
}

/// Gives back free memory of the heap, and code that was needed.
async fn shrink() {
    // It walks the heap, which may be large: not on a worker.
    let work = tokio::task::spawn_blocking(|| {
        sys::malloc::trim();
        sys::image::unmap()
    });
    if let Ok(Err(error)) = work.await {
        tracing::debug!(%error, "unmap the program's pages");
    }
}
