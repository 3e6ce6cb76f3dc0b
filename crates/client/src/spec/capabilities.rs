//! Capabilities by name (capabilities(7)).

use super::types::{Capabilities, Spec};
use model::{Error, Result};

/// All of them, by number, up to Linux 5.9.
const NAMES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container gets unless told otherwise: what ordinary root processes need inside their namespaces.
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

impl Capabilities {
    /// What a container gets unless told otherwise.
    pub fn by_default() -> Self {
        let default: Vec<String> = DEFAULT.iter().map(|&name| name.to_owned()).collect();
        Self { bounding: default.clone(), effective: default.clone(), permitted: default, inheritable: Vec::new() }
    }
}

impl Spec {
    /// Adds capabilities by name.
    pub fn add_capabilities(&mut self, names: &[String]) -> Result<()> {
        check(names)?;
        let sets = &mut self.process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            for name in names {
                if !set.contains(name) {
                    set.push(name.clone());
                }
            }
        }
        Ok(())
    }

    /// Takes capabilities away by name.
    pub fn drop_capabilities(&mut self, names: &[String]) -> Result<()> {
        check(names)?;
        let sets = &mut self.process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
            set.retain(|name| !names.contains(name));
        }
        Ok(())
    }
}

fn check(names: &[String]) -> Result<()> {
    match names.iter().find(|name| !name.starts_with("CAP_")) {
        Some(name) => Err(Error::invalid_argument(format!(
            "capability {name:?}: capabilities must be specified with 'CAP_' prefix"
        ))),
        None => Ok(()),
    }
}

/// Those this process may use.
pub(super) fn current() -> Result<Vec<String>> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| Error::io("read capabilities", error))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let mask = mask.ok_or_else(|| Error::unknown("read capabilities: /proc/self/status does not say"))?;
    Ok(NAMES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, &name)| name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_change_together() {
        let mut spec = Spec::linux("default", "x");
        spec.add_capabilities(&["CAP_SYS_ADMIN".into(), "CAP_CHOWN".into()]).unwrap();
        spec.drop_capabilities(&["CAP_KILL".into()]).unwrap();
        let sets = &spec.process.capabilities;
        for set in [&sets.bounding, &sets.effective, &sets.permitted] {
            assert_eq!(set.iter().filter(|name| *name == "CAP_CHOWN").count(), 1);
            assert!(set.contains(&"CAP_SYS_ADMIN".to_owned()) && !set.contains(&"CAP_KILL".to_owned()));
        }
        assert!(spec.add_capabilities(&["SYS_ADMIN".into()]).is_err());
    }

    #[test]
    fn numbers_match_names() {
        assert_eq!((NAMES[21], NAMES[40], NAMES.len()), ("CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", 41));
    }
}
