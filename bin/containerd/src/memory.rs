//! Gives memory back after work that took much of it: the start, and bursts of requests.

use crate::grpc::Router;
use std::time::Duration;

/// When it is first looked whether work has ended: most often the start is over by then.
const START: Duration = Duration::from_secs(1);
/// How often it is looked from then on.
const PERIOD: Duration = Duration::from_secs(5);

/// Shrinks a moment after the start, and after the last of each burst of requests, for as long as we run.
pub(crate) async fn shrink_when_idle(router: Router) {
    let (mut pause, mut shrunk_at) = (START, None);
    loop {
        tokio::time::sleep(pause).await;
        let served = Some(router.served());
        if served != shrunk_at && router.busy() == 0 {
            shrunk_at = served;
            shrink().await;
        }
        pause = PERIOD;
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
