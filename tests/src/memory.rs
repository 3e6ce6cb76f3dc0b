//! How much memory a process has, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Bytes by which the memory of a process at rest may still change: others map the same pages, and unmap them.
const STEADY: u64 = 16 << 10;

/// Resident bytes.
#[must_use]
pub fn rss(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most resident bytes since [`forget_peak`].
#[must_use]
pub fn peak(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Lets [`peak`] begin anew.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("forget the peak");
}

/// Proportional bytes: pages shared by n processes count one n-th each.
#[must_use]
pub fn pss(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// [`pss`] once it has not changed for eight seconds: a daemon gives memory of a burst of work back
/// some seconds after its end, if at all. After a minute it is taken as it is.
#[must_use]
pub fn settled_pss(pid: u32) -> u64 {
    let (mut last, mut unchanged) = (pss(pid), 0);
    for _ in 0..60 {
        std::thread::sleep(Duration::from_secs(1));
        let now = pss(pid);
        unchanged = if now.abs_diff(last) <= STEADY { unchanged + 1 } else { 0 };
        if unchanged == 8 {
            break;
        }
        last = now;
    }
    last
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}
