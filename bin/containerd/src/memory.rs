//! Gives memory back after work that took much of it.

use crate::grpc::Router;
use std::time::Duration;

/// How often it is looked whether work has ended.
const PERIOD: Duration = Duration::from_secs(5);

/// Trims the heap a moment after the last of a burst of requests, for as long as we run.
pub(crate) async fn trim_when_idle(router: Router) {
    let mut trimmed_at = 0;
    loop {
        tokio::time::sleep(PERIOD).await;
        let served = router.served();
        if served != trimmed_at && router.busy() == 0 {
            trimmed_at = served;
            // It walks the heap, which may be large: not on a worker.
            let _ = tokio::task::spawn_blocking(sys::malloc::trim).await;
        }
    }
}
