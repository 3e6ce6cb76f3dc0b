//! `Stats`: a control group's counters as containerd's `Metrics`, v1 or v2.

mod v1;
mod v2;

use crate::task::any;
use proto::Any;
use std::path::Path;
use sys::cgroup::{self, Cgroup};

/// The counters of `group`. Controllers that are not there are left out.
pub(crate) fn read(group: &Cgroup) -> Any {
    match group {
        Cgroup::V1(_) => any(&v1::read(group)),
        Cgroup::V2(directory) => any(&v2::read(directory)),
    }
}

/// The number in `file`, 0 when there is no such file.
fn number(directory: &Path, file: &str) -> u64 {
    cgroup::value(directory, file).unwrap_or(0)
}

/// The huge page sizes of this host as the controllers' files name them: `2MB`, `1GB`.
fn huge_page_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<u64> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    sizes.into_iter().map(page_size).collect()
}

fn page_size(kilobytes: u64) -> String {
    match kilobytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    }
}

/// What is used and what may be: lines `device hca_handle=… hca_object=…`, each given to `entry`.
fn rdma<T>(directory: &Path, entry: impl Fn(String, u32, u32) -> T) -> [Vec<T>; 2] {
    let count = |field: &str, name: &str| {
        let value = field.strip_prefix(name)?.strip_prefix('=')?;
        if value == "max" { Some(u32::MAX) } else { value.parse().ok() }
    };
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let device = fields.next()?.to_owned();
        let (handles, objects) = (fields.next()?, fields.next()?);
        Some(entry(device, count(handles, "hca_handle").unwrap_or(0), count(objects, "hca_object").unwrap_or(0)))
    };
    ["rdma.current", "rdma.max"].map(|file| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines().filter_map(line).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_named_as_the_kernel_does() {
        assert_eq!([64, 2048, 1 << 20].map(page_size), ["64KB", "2MB", "1GB"]);
    }

    #[test]
    fn rdma_lines() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rdma.max"), "mlx4_0 hca_handle=2 hca_object=max\nodd\n").unwrap();
        let [current, limit] = rdma(dir.path(), |device, handles, objects| (device, handles, objects));
        assert_eq!(limit, [("mlx4_0".to_owned(), 2, u32::MAX)]);
        assert!(current.is_empty());
    }
}
