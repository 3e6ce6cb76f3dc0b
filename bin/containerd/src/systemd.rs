//! systemd's side: readiness, stopping, and the watchdog. Without systemd all of it is silent.

use sd_notify::NotifyState;

/// Tells systemd that requests are served, and begins to feed its watchdog if it has one.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    // Fed by a task of its own: it stops when the runtime does, or is stuck.
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(period / 2);
        loop {
            ticks.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    });
}

/// Tells systemd that we are on our way out.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "notify systemd");
    }
}
