//! cgroup v2: one directory for all controllers.

use super::{huge_page_sizes, number, rdma};
use proto::shim::io::containerd::cgroups::v2::{
    CpuStat, HugeTlbStat, IoEntry, IoStat, MemoryEvents, MemoryStat, Metrics, PidsStat, PsiData, PsiStats, RdmaEntry,
    RdmaStat,
};
use std::path::Path;
use sys::cgroup::keyed;

pub(super) fn read(directory: &Path) -> Metrics {
    let [current, limit] =
        rdma(directory, |device, hca_handles, hca_objects| RdmaEntry { device, hca_handles, hca_objects });
    Metrics {
        pids: Some(PidsStat { current: number(directory, "pids.current"), limit: number(directory, "pids.max") }),
        cpu: Some(cpu(directory)),
        memory: Some(memory(directory)),
        rdma: Some(RdmaStat { current, limit }),
        io: Some(IoStat { usage: io(directory), psi: pressure(directory, "io.pressure") }),
        hugetlb: hugetlb(directory),
        memory_events: memory_events(directory),
        ..Metrics::default()
    }
}

fn cpu(directory: &Path) -> CpuStat {
    let stat = keyed(directory, "cpu.stat");
    let get = |key| stat.get(key).copied().unwrap_or(0);
    CpuStat {
        usage_usec: get("usage_usec"),
        user_usec: get("user_usec"),
        system_usec: get("system_usec"),
        nr_periods: get("nr_periods"),
        nr_throttled: get("nr_throttled"),
        throttled_usec: get("throttled_usec"),
        nr_bursts: get("nr_bursts"),
        burst_usec: get("burst_usec"),
        psi: pressure(directory, "cpu.pressure"),
    }
}

fn memory(directory: &Path) -> MemoryStat {
    let stat = keyed(directory, "memory.stat");
    let get = |key| stat.get(key).copied().unwrap_or(0);
    MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: get("workingset_refault"),
        workingset_activate: get("workingset_activate"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: number(directory, "memory.current"),
        usage_limit: number(directory, "memory.max"),
        swap_usage: number(directory, "memory.swap.current"),
        swap_limit: number(directory, "memory.swap.max"),
        max_usage: number(directory, "memory.peak"),
        swap_max_usage: number(directory, "memory.swap.peak"),
        psi: pressure(directory, "memory.pressure"),
    }
}

fn memory_events(directory: &Path) -> Option<MemoryEvents> {
    let events = keyed(directory, "memory.events");
    let get = |key| events.get(key).copied().unwrap_or(0);
    (!events.is_empty()).then(|| MemoryEvents {
        low: get("low"),
        high: get("high"),
        max: get("max"),
        oom: get("oom"),
        oom_kill: get("oom_kill"),
        oom_group_kill: get("oom_group_kill"),
    })
}

/// Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn io(directory: &Path) -> Vec<IoEntry> {
    let text = std::fs::read_to_string(directory.join("io.stat")).unwrap_or_default();
    text.lines().filter_map(io_entry).collect()
}

fn io_entry(line: &str) -> Option<IoEntry> {
    let mut fields = line.split(' ');
    let (major, minor) = fields.next()?.split_once(':')?;
    let mut entry = IoEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, ..IoEntry::default() };
    let mut fields = fields.peekable();
    fields.peek()?;
    for (key, value) in fields.filter_map(|field| field.split_once('=')) {
        let Ok(value) = value.parse() else { continue };
        match key {
            "rbytes" => entry.rbytes = value,
            "wbytes" => entry.wbytes = value,
            "rios" => entry.rios = value,
            "wios" => entry.wios = value,
            _ => {}
        }
    }
    Some(entry)
}

/// Lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; `None` without PSI.
fn pressure(directory: &Path, file: &str) -> Option<PsiStats> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    let mut stats = PsiStats::default();
    for line in text.lines() {
        let (kind, fields) = line.split_once(' ')?;
        let mut data = PsiData::default();
        for (key, value) in fields.split(' ').filter_map(|field| field.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().ok()?,
                "avg60" => data.avg60 = value.parse().ok()?,
                "avg300" => data.avg300 = value.parse().ok()?,
                "total" => data.total = value.parse().ok()?,
                _ => {}
            }
        }
        match kind {
            "some" => stats.some = Some(data),
            "full" => stats.full = Some(data),
            _ => {}
        }
    }
    Some(stats)
}

fn hugetlb(directory: &Path) -> Vec<HugeTlbStat> {
    let stat = |pagesize: String| HugeTlbStat {
        current: number(directory, &format!("hugetlb.{pagesize}.current")),
        max: number(directory, &format!("hugetlb.{pagesize}.max")),
        failcnt: keyed(directory, &format!("hugetlb.{pagesize}.events")).get("max").copied().unwrap_or(0),
        pagesize,
    };
    huge_page_sizes().into_iter().map(stat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_land_in_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("cpu.stat", "usage_usec 10\nuser_usec 6\nsystem_usec 4\n");
        write("cpu.pressure", "some avg10=1.50 avg60=0.20 avg300=0.00 total=77\n");
        write("memory.stat", "anon 4096\nfile 8192\n");
        write("memory.current", "12288\n");
        write("memory.max", "max\n");
        write("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n");
        write("io.stat", "254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n7:0 \n8:0\n");
        write("pids.current", "2\n");
        let metrics = read(dir.path());
        let cpu = metrics.cpu.unwrap();
        assert_eq!((cpu.usage_usec, cpu.user_usec), (10, 6));
        let some = cpu.psi.unwrap().some.unwrap();
        assert!((some.avg10 - 1.5).abs() < f64::EPSILON && some.total == 77);
        let memory = metrics.memory.unwrap();
        assert_eq!((memory.anon, memory.usage, memory.usage_limit), (4096, 12_288, u64::MAX));
        assert_eq!(metrics.memory_events.unwrap().oom_kill, 1);
        let io = metrics.io.unwrap().usage;
        assert_eq!((io.len(), io[0].rbytes, io[0].rios), (2, 4096, 1));
        assert_eq!(metrics.pids.unwrap().current, 2);
        assert!(memory.psi.is_none());
    }
}
