//! What the daemon is doing, for somebody who wonders why it does not: SIGUSR1.

use crate::grpc::Router;
use std::{env, fmt::Write as _, fs, path::PathBuf};
use tokio::runtime::Handle;

/// Writes the state of requests, tasks and threads to the log and to a file, as containerd
/// does with its goroutines.
pub(crate) fn dump(router: &Router) {
    let text = report(router);
    tracing::info!("=== BEGIN thread dump ===\n{text}\n=== END thread dump ===");
    let path = env::temp_dir().join(format!("containerd.{}.stacks.log", std::process::id()));
    match fs::write(&path, text) {
        Ok(()) => tracing::info!(path = %path.display(), "thread dump written"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "write thread dump"),
    }
}

fn report(router: &Router) -> String {
    let metrics = Handle::current().metrics();
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "requests under way: {}", router.busy());
    let _ = writeln!(
        out,
        "async tasks: {} alive on {} workers, {} queued",
        metrics.num_alive_tasks(),
        metrics.num_workers(),
        metrics.global_queue_depth()
    );
    let mut threads: Vec<PathBuf> = fs::read_dir("/proc/self/task")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    threads.sort();
    for thread in threads {
        let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
        let state = read("status").lines().find_map(|line| line.strip_prefix("State:\t").map(str::to_owned));
        let id = thread.file_name().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, wait, call) = (read("comm"), read("wchan"), read("syscall"));
        let call = call.split(' ').next().unwrap_or_default().trim().to_owned();
        let state = state.unwrap_or_default();
        let _ = writeln!(out, "thread {id} {}: {state}, in {wait}, system call {call}", name.trim());
        // Root only, and only if the kernel was built with it.
        for frame in read("stack").lines() {
            let _ = writeln!(out, "    {frame}");
        }
    }
    out
}
