//! The default seccomp profile: everything refused but what ordinary programs call (the same as containerd's,
//! which is Docker's).

use super::types::Spec;
use model::{Error, Result};
use serde_json::{Value, json};

/// System calls that are harmless whatever their arguments, one a line.
const ALLOWED: &str = include_str!("seccomp_allowed.txt");

/// Address families whose sockets have had too many holes.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// Personalities that do not weaken a process: none, 32 bits, uname 2.6, both, and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Flags of clone(2) that make namespaces: mount, uts, ipc, user, pid, network, cgroup.
const CLONE_NAMESPACES: u64 =
    0x0002_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000 | 0x0200_0000;

/// What `clone3` answers where its flags cannot be looked at, so that libc falls back to `clone`.
const ENOSYS: u32 = 38;

/// System calls that come with a capability.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"]),
    ("CAP_SYS_RAWIO", &["iopl", "ioperm"]),
    ("CAP_SYS_TIME", &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

impl Spec {
    /// Sets the default profile. What it allows depends on the capabilities, so those come first.
    pub fn use_default_seccomp(&mut self) {
        let bounding = &self.process.capabilities.bounding;
        let has = |name: &str| bounding.iter().any(|capability| capability == name);
        let mut calls = vec![allow(&ALLOWED.lines().collect::<Vec<_>>())];
        for (operator, value) in [("SCMP_CMP_LT", AF_ALG), ("SCMP_CMP_EQ", AF_ALG + 1), ("SCMP_CMP_GT", AF_VSOCK)] {
            calls.push(allow_if("socket", value, operator));
        }
        calls.extend(PERSONALITIES.map(|value| allow_if("personality", value, "SCMP_CMP_EQ")));
        // Since Linux 4.8 ptrace no longer gets around seccomp.
        calls.push(allow(&["process_vm_readv", "process_vm_writev", "ptrace"]));
        calls.push(allow(of_architecture()));
        calls.extend(BY_CAPABILITY.iter().filter(|(name, _)| has(name)).map(|(_, names)| allow(names)));
        if !has("CAP_SYS_ADMIN") {
            let mut clone = allow_if("clone", CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ");
            // The flags come second on s390x.
            clone["args"][0]["index"] = json!(u32::from(cfg!(target_arch = "s390x")));
            calls.push(clone);
            calls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
        }
        self.linux.seccomp = Some(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": architectures(),
            "syscalls": calls,
        }));
    }

    /// Sets the profile in `json`, the text of file `path`.
    pub fn use_seccomp(&mut self, path: &str, json: &[u8]) -> Result<()> {
        let profile: Value = serde_json::from_slice(json).map_err(|error| {
            Error::invalid_argument(format!("seccomp profile {path} is not valid JSON")).caused_by(error)
        })?;
        if !profile["defaultAction"].is_string() {
            return Err(Error::invalid_argument(format!("seccomp profile {path} has no defaultAction")));
        }
        self.linux.seccomp = Some(profile);
        Ok(())
    }
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

/// Allows `name` if its first argument compares so to `value`; masked, if none of the bits of `value` is set.
fn allow_if(name: &str, value: u64, operator: &str) -> Value {
    let argument = json!({"index": 0, "value": value, "op": operator});
    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]})
}

/// This machine's, and those whose programs it runs.
fn architectures() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"]
    } else if cfg!(target_arch = "s390x") {
        &["SCMP_ARCH_S390", "SCMP_ARCH_S390X"]
    } else if cfg!(target_arch = "riscv64") {
        &["SCMP_ARCH_RISCV64"]
    } else {
        &[]
    }
}

/// System calls that only this architecture has.
fn of_architecture() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["arch_prctl", "modify_ldt"]
    } else if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
        &["arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"]
    } else if cfg!(target_arch = "s390x") {
        &["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"]
    } else if cfg!(target_arch = "powerpc64") {
        &["sync_file_range2", "swapcontext"]
    } else if cfg!(target_arch = "riscv64") {
        &["riscv_flush_icache", "riscv_hwprobe"]
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(spec: &Spec, name: &str) -> bool {
        let calls = spec.linux.seccomp.as_ref().unwrap()["syscalls"].as_array().unwrap();
        let named = |call: &&Value| call["names"].as_array().unwrap().iter().any(|other| other == name);
        calls.iter().filter(named).any(|call| call["action"] == "SCMP_ACT_ALLOW")
    }

    #[test]
    fn capabilities_open_system_calls() {
        let mut spec = Spec::linux("default", "x");
        spec.use_default_seccomp();
        assert!(allows(&spec, "read") && allows(&spec, "chroot") && allows(&spec, "clone"));
        assert!(!allows(&spec, "mount") && !allows(&spec, "clone3") && !allows(&spec, "kexec_load"));
        spec.add_capabilities(&["CAP_SYS_ADMIN".into()]).unwrap();
        spec.use_default_seccomp();
        assert!(allows(&spec, "mount") && allows(&spec, "clone3"));
    }

    #[test]
    fn the_clone_mask_is_that_of_the_kernels_headers() {
        assert_eq!(CLONE_NAMESPACES, 0x7e02_0000);
    }

    #[test]
    fn a_profile_of_ones_own_must_be_one() {
        let mut spec = Spec::linux("default", "x");
        spec.use_seccomp("p", br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap();
        assert!(spec.use_seccomp("p", b"{}").is_err());
        assert!(spec.use_seccomp("p", b"not json").is_err());
    }
}
