//! The default spec of a Linux container, and the changes that need no look at the host.

use super::types::{
    Capabilities, Cpu, DeviceRule, IdMapping, Linux, Mount, Namespace, Process, Resources, Rlimit, Root, Spec,
};
use model::{Error, Result};

/// Version of the runtime spec that these documents follow.
const OCI_VERSION: &str = "1.2.1";

/// All kinds of access to a device.
pub(super) const ALL_ACCESS: &str = "rwm";

/// Kernel files that tell too much about the host.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];

/// Kernel files by which the host could be changed.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Kinds of namespaces that can be joined.
const NAMESPACES: &[&str] = &["pid", "network", "uts", "mount", "user", "ipc", "cgroup", "time"];

/// Destination, file system, source, options.
const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/run", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
];

impl Spec {
    /// The default for container `id` of a containerd namespace.
    pub fn linux(namespace: &str, id: &str) -> Self {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let namespaces = ["pid", "ipc", "uts", "mount", "network"];
        Self {
            oci_version: OCI_VERSION.into(),
            process: Process {
                cwd: "/".into(),
                capabilities: Capabilities::by_default(),
                rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), hard: 1024, soft: 1024 }],
                no_new_privileges: true,
                ..Process::default()
            },
            root: Root { path: "rootfs".into(), readonly: false },
            mounts: MOUNTS
                .iter()
                .map(|(destination, kind, source, options)| Mount {
                    destination: (*destination).into(),
                    kind: (*kind).into(),
                    source: (*source).into(),
                    options: strings(options),
                })
                .collect(),
            linux: Linux {
                masked_paths: strings(MASKED),
                readonly_paths: strings(READ_ONLY),
                cgroups_path: format!("/{namespace}/{id}").trim_end_matches('/').to_owned(),
                resources: Resources { devices: vec![DeviceRule::all(false)], ..Resources::default() },
                namespaces: namespaces.map(|kind| Namespace { kind: kind.into(), path: String::new() }).to_vec(),
                ..Linux::default()
            },
            ..Self::default()
        }
    }

    /// Sets environment variables; a mere `NAME` removes one.
    pub fn set_env<S: AsRef<str>>(&mut self, variables: &[S]) {
        let old = std::mem::take(&mut self.process.env);
        self.process.env = merge_env(&old, variables);
    }

    /// Gives the process a terminal.
    pub fn set_terminal(&mut self) {
        self.process.terminal = true;
        self.process.env.push("TERM=xterm".into());
    }

    /// Adds mounts, each instead of the one at the same place.
    pub fn add_mounts(&mut self, mounts: Vec<Mount>) {
        self.mounts.retain(|old| !mounts.iter().any(|new| new.destination == old.destination));
        self.mounts.extend(mounts);
    }

    /// Shares the host's network, and the files by which it is used.
    pub fn use_host_network(&mut self, hostname: &str) {
        self.linux.namespaces.retain(|namespace| namespace.kind != "network");
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            self.mounts.push(Mount {
                destination: file.into(),
                kind: "bind".into(),
                source: file.into(),
                options: vec!["rbind".into(), "ro".into()],
            });
        }
        self.set_env(&[format!("HOSTNAME={hostname}")]);
    }

    /// Joins the namespace at `path` instead of making a new one.
    pub fn join_namespace(&mut self, kind: &str, path: &str) -> Result<()> {
        if !NAMESPACES.contains(&kind) {
            let known = NAMESPACES.join(", ");
            return Err(Error::invalid_argument(format!("namespace type {kind:?} is none of {known}")));
        }
        let namespace = Namespace { kind: kind.into(), path: path.into() };
        match self.linux.namespaces.iter_mut().find(|old| old.kind == kind) {
            Some(old) => *old = namespace,
            None => self.linux.namespaces.push(namespace),
        }
        Ok(())
    }

    /// Puts the container into a user namespace of its own.
    pub fn map_users(&mut self, users: Vec<IdMapping>, groups: Vec<IdMapping>) {
        if !self.linux.namespaces.iter().any(|namespace| namespace.kind == "user") {
            self.linux.namespaces.push(Namespace { kind: "user".into(), path: String::new() });
        }
        self.linux.uid_mappings.extend(users);
        self.linux.gid_mappings.extend(groups);
    }

    /// Takes every fence down: what this process may do, the container may.
    pub fn make_privileged(&mut self) -> Result<()> {
        let capabilities = super::capabilities::current()?;
        self.process.capabilities = Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            inheritable: Vec::new(),
        };
        self.linux.masked_paths.clear();
        self.linux.readonly_paths.clear();
        for mount in self.mounts.iter_mut().filter(|mount| matches!(mount.kind.as_str(), "sysfs" | "cgroup")) {
            mount.options.iter_mut().filter(|option| *option == "ro").for_each(|option| *option = "rw".into());
        }
        self.process.apparmor_profile.clear();
        self.linux.seccomp = None;
        Ok(())
    }

    /// Sets a limit, instead of the one of the same kind.
    pub fn set_rlimit(&mut self, limit: Rlimit) {
        match self.process.rlimits.iter_mut().find(|old| old.kind == limit.kind) {
            Some(old) => *old = limit,
            None => self.process.rlimits.push(limit),
        }
    }

    /// Limits of processors, to be set.
    pub fn cpu(&mut self) -> &mut Cpu {
        self.linux.resources.cpu.get_or_insert_default()
    }

    /// Limits memory to so many bytes.
    pub fn limit_memory(&mut self, bytes: u64) {
        self.linux.resources.memory.get_or_insert_default().limit = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl DeviceRule {
    /// A rule on every device.
    pub fn all(allow: bool) -> Self {
        Self { allow, kind: String::new(), major: None, minor: None, access: ALL_ACCESS.into() }
    }
}

/// `old` changed by `new`: variables are replaced in place or added; a mere `NAME` removes one.
pub(super) fn merge_env<A: AsRef<str>, B: AsRef<str>>(old: &[A], new: &[B]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = old.iter().map(|variable| variable.as_ref().to_owned()).collect();
    for variable in new.iter().map(AsRef::as_ref) {
        let position = merged.iter().position(|old| name(old) == name(variable));
        match (variable.contains('='), position) {
            (true, Some(position)) => variable.clone_into(&mut merged[position]),
            (true, None) => merged.push(variable.to_owned()),
            (false, Some(position)) => drop(merged.remove(position)),
            (false, None) => {}
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_merged_by_name() {
        let merged = merge_env(&["A=1", "B=2", "C=3"], &["B=x=y", "A", "D=4", "E"]);
        assert_eq!(merged, ["B=x=y", "C=3", "D=4"]);
    }

    #[test]
    fn a_later_mount_replaces_one_at_the_same_place() {
        let mut spec = Spec::linux("default", "x");
        let count = spec.mounts.len();
        spec.add_mounts(vec![Mount { destination: "/run".into(), ..Mount::default() }]);
        assert_eq!(spec.mounts.len(), count);
        assert_eq!(spec.mounts.last().unwrap().kind, "");
    }

    #[test]
    fn only_known_namespaces_are_joined() {
        let mut spec = Spec::linux("default", "x");
        spec.join_namespace("network", "/proc/1/ns/net").unwrap();
        assert_eq!(spec.linux.namespaces.iter().filter(|ns| ns.kind == "network").count(), 1);
        assert!(spec.join_namespace("net", "/proc/1/ns/net").is_err());
    }

    #[test]
    fn the_cgroup_is_named_after_namespace_and_id() {
        assert_eq!(Spec::linux("k8s.io", "a").linux.cgroups_path, "/k8s.io/a");
        assert_eq!(Spec::linux("default", "").linux.cgroups_path, "/default");
    }
}
