//! The shim's log: lines for the fifo `log` in the bundle, which containerd copies.

use std::fmt::Arguments;
use std::path::Path;

/// Writes a line to stderr; what cannot be written is lost, for there is nowhere to say so.
pub(crate) fn stderr(line: &str) {
    let _lost = rustix::io::write(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// Makes the bundle's `log` our stderr.
///
/// It is opened for reading as well, so that opening never waits, lines survive a restart
/// of containerd, and no reader means a full pipe (the line is dropped), not a signal.
pub(crate) fn to_bundle(bundle: &Path) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(fifo) = rustix::fs::open(bundle.join("log"), flags, Mode::empty()) {
        let _kept = rustix::stdio::dup2_stderr(&fifo);
    }
}

/// One line at `level` in logrus' text format, which operators' filters know.
pub(crate) fn line(level: &str, message: Arguments<'_>) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    stderr(&format!(
        "time=\"{}.{:03}\" level={level} msg={:?}",
        now.tv_sec,
        now.tv_nsec / 1_000_000,
        message.to_string()
    ));
}

/// Logs a warning: something went wrong that no request can report.
macro_rules! warning {
    ($($format:tt)*) => { $crate::log::line("warning", format_args!($($format)*)) };
}
pub(crate) use warning;
