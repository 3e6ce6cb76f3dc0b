//! Gives memory back after work that took much of it: the start, and bursts of requests.

use crate::grpc::Router;
use std::time::Duration;

/// When it is first looked whether work has ended: most often the start is over by then.
const START: Duration = Duration::from_secs(1);
/// How often it is looked from then on.
const PERIOD: Duration = Duration::from_secs(5);

/// kB of code that may come back into memory before it is given back again: work of our own, such as the restart
/// monitor's, brings some back every few seconds.
const SLACK: u64 = 1 << 10;

/// Shrinks a moment after the start, and after the last of each burst of requests, for as long as we run.
pub(crate) async fn shrink_when_idle(router: Router) {
    let (mut pause, mut shrunk_at, mut least) = (START, None, 0);
    loop {
        tokio::time::sleep(pause).await;
        let served = Some(router.served());
        if router.busy() == 0 && (served != shrunk_at || mapped() > least + SLACK) {
            shrunk_at = served;
            shrink().await;
            least = mapped();
        }
        pause = PERIOD;
    }
}

/// kB of files that are mapped and in memory: nearly all is our code. 0 if the kernel does not say.
fn mapped() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("RssFile:")?.split_whitespace().next()?.parse().ok());
    size.unwrap_or_default()
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
