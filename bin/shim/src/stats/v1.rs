//! cgroup v1: one directory per controller.

use super::{huge_page_sizes, number, rdma};
use proto::shim::io::containerd::cgroups::v1::{
    BlkIoEntry, BlkIoStat, CpuStat, CpuUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat, Metrics,
    PidsStat, RdmaEntry, RdmaStat, Throttle,
};
use std::collections::HashMap;
use std::path::Path;
use sys::cgroup::{Cgroup, keyed};

/// Ticks of `cpuacct.stat` are hundredths of a second on every architecture.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn read(group: &Cgroup) -> Metrics {
    let with = |name| group.controller(name).filter(|directory| directory.exists());
    Metrics {
        hugetlb: with("hugetlb").map(hugetlb).unwrap_or_default(),
        pids: with("pids").map(|dir| PidsStat { current: number(dir, "pids.current"), limit: number(dir, "pids.max") }),
        cpu: Some(CpuStat {
            usage: Some(with("cpuacct").map(cpu_usage).unwrap_or_default()),
            throttling: Some(with("cpu").map(throttling).unwrap_or_default()),
        }),
        memory: with("memory").map(memory),
        blkio: with("blkio").map(blkio),
        rdma: with("rdma").map(|directory| {
            let [current, limit] =
                rdma(directory, |device, hca_handles, hca_objects| RdmaEntry { device, hca_handles, hca_objects });
            RdmaStat { current, limit }
        }),
        memory_oom_control: with("memory").map(oom_control),
        ..Metrics::default()
    }
}

fn hugetlb(directory: &Path) -> Vec<HugetlbStat> {
    let stat = |pagesize: String| HugetlbStat {
        usage: number(directory, &format!("hugetlb.{pagesize}.usage_in_bytes")),
        max: number(directory, &format!("hugetlb.{pagesize}.max_usage_in_bytes")),
        failcnt: number(directory, &format!("hugetlb.{pagesize}.failcnt")),
        pagesize,
    };
    huge_page_sizes().into_iter().map(stat).collect()
}

fn cpu_usage(directory: &Path) -> CpuUsage {
    let ticks = keyed(directory, "cpuacct.stat");
    let nanoseconds = |key| ticks.get(key).copied().unwrap_or(0).saturating_mul(NANOSECONDS_PER_TICK);
    let per_cpu = std::fs::read_to_string(directory.join("cpuacct.usage_percpu")).unwrap_or_default();
    CpuUsage {
        total: number(directory, "cpuacct.usage"),
        kernel: nanoseconds("system"),
        user: nanoseconds("user"),
        per_cpu: per_cpu.split_whitespace().filter_map(|field| field.parse().ok()).collect(),
    }
}

fn throttling(directory: &Path) -> Throttle {
    let stat = keyed(directory, "cpu.stat");
    let get = |key| stat.get(key).copied().unwrap_or(0);
    Throttle {
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_time: get("throttled_time"),
    }
}

fn memory(directory: &Path) -> MemoryStat {
    let stat = keyed(directory, "memory.stat");
    let get = |key| stat.get(key).copied().unwrap_or(0);
    let entry = |module: &str| {
        Some(MemoryEntry {
            limit: number(directory, &format!("memory.{module}limit_in_bytes")),
            usage: number(directory, &format!("memory.{module}usage_in_bytes")),
            max: number(directory, &format!("memory.{module}max_usage_in_bytes")),
            failcnt: number(directory, &format!("memory.{module}failcnt")),
        })
    };
    MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: entry(""),
        swap: entry("memsw."),
        kernel: entry("kmem."),
        kernel_tcp: entry("kmem.tcp."),
    }
}

fn oom_control(directory: &Path) -> MemoryOomControl {
    let control = keyed(directory, "memory.oom_control");
    let get = |key| control.get(key).copied().unwrap_or(0);
    MemoryOomControl {
        oom_kill_disable: get("oom_kill_disable"),
        under_oom: get("under_oom"),
        oom_kill: get("oom_kill"),
    }
}

/// The scheduler's own counters where it keeps any, else those of throttling.
fn blkio(directory: &Path) -> BlkIoStat {
    let devices = devices();
    let read = |file: &str| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines().filter_map(|line| blkio_entry(line, &devices)).collect::<Vec<_>>()
    };
    let stat = BlkIoStat {
        io_service_bytes_recursive: read("blkio.io_service_bytes_recursive"),
        io_serviced_recursive: read("blkio.io_serviced_recursive"),
        io_queued_recursive: read("blkio.io_queued_recursive"),
        io_service_time_recursive: read("blkio.io_service_time_recursive"),
        io_wait_time_recursive: read("blkio.io_wait_time_recursive"),
        io_merged_recursive: read("blkio.io_merged_recursive"),
        io_time_recursive: read("blkio.time_recursive"),
        sectors_recursive: read("blkio.sectors_recursive"),
    };
    if stat != BlkIoStat::default() {
        return stat;
    }
    BlkIoStat {
        io_service_bytes_recursive: read("blkio.throttle.io_service_bytes"),
        io_serviced_recursive: read("blkio.throttle.io_serviced"),
        ..stat
    }
}

/// `8:0 Read 4096` or `8:0 4096`; the line `Total 4096` is none.
fn blkio_entry(line: &str, devices: &HashMap<(u64, u64), String>) -> Option<BlkIoEntry> {
    let fields: Vec<&str> = line.split([' ', ':']).collect();
    let (op, value) = match fields.as_slice() {
        [_, _, op, value] => (*op, *value),
        [_, _, value] => ("", *value),
        _ => return None,
    };
    let (major, minor) = (fields[0].parse().ok()?, fields[1].parse().ok()?);
    Some(BlkIoEntry {
        op: op.to_owned(),
        device: devices.get(&(major, minor)).cloned().unwrap_or_default(),
        major,
        minor,
        value: value.parse().ok()?,
    })
}

fn devices() -> HashMap<(u64, u64), String> {
    let text = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    text.lines()
        .skip(2)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [major, minor, _blocks, name] = fields.as_slice() else { return None };
            Some(((major.parse().ok()?, minor.parse().ok()?), format!("/dev/{name}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn counters_of_each_controller_land_in_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("cpuacct.usage", "123456789\n");
        write("cpuacct.usage_percpu", "100 23 \n");
        write("cpuacct.stat", "user 3\nsystem 4\n");
        write("memory.stat", "cache 7\ntotal_rss 4096\nhierarchical_memory_limit 1048576\n");
        write("memory.usage_in_bytes", "5\n");
        write("memory.limit_in_bytes", "1048576\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        write("pids.current", "3\n");
        write("pids.max", "max\n");
        write("blkio.throttle.io_service_bytes", "254:0 Read 4096\n254:0 Total 4096\nTotal 4096\n");
        let names = ["cpuacct", "memory", "pids", "blkio"];
        let group = Cgroup::V1(names.map(|name| (name.to_owned(), dir.path().to_owned())).into_iter().collect());
        let metrics = read(&group);
        let usage = metrics.cpu.unwrap().usage.unwrap();
        assert_eq!((usage.total, usage.user, usage.kernel), (123_456_789, 30_000_000, 40_000_000));
        assert_eq!(usage.per_cpu, [100, 23]);
        let memory = metrics.memory.unwrap();
        assert_eq!((memory.cache, memory.total_rss), (7, 4096));
        assert_eq!(memory.usage.unwrap().limit, 1_048_576);
        assert_eq!(metrics.memory_oom_control.unwrap().oom_kill, 2);
        assert_eq!(metrics.pids, Some(PidsStat { current: 3, limit: u64::MAX }));
        let bytes = metrics.blkio.unwrap().io_service_bytes_recursive;
        assert_eq!(
            bytes.iter().map(|entry| (entry.op.as_str(), entry.value)).collect::<Vec<_>>(),
            [("Read", 4096), ("Total", 4096)]
        );
        assert!(metrics.rdma.is_none() && metrics.hugetlb.is_empty());
    }

    #[test]
    fn a_group_that_is_gone_has_no_counters() {
        let group = Cgroup::V1(BTreeMap::from([("memory".to_owned(), "/nonexistent".into())]));
        assert!(read(&group).memory.is_none());
    }
}
