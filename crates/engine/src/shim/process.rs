//! Shims as processes: found by their command line, for when they do not answer.

use model::{Error, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, os::fd::OwnedFd};

/// A running shim, or a `<shim> start` under way.
#[derive(Debug)]
pub(crate) struct ShimProcess {
    /// Its process id.
    pub(crate) pid: u32,
    /// The namespace it was started for.
    pub(crate) namespace: String,
    /// The task it was started for (in a pod: the first).
    pub(crate) id: String,
    /// Refers to the process we looked at, not to whoever has its number later.
    handle: OwnedFd,
}

impl ShimProcess {
    /// Ends the process, which cannot refuse. Its containers are not touched.
    pub(crate) fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(Error::io(format!("kill shim {} of {}", self.pid, self.id), error.into())),
        }
    }
}

/// Every process that a daemon at `address` started as a shim.
pub(crate) fn shim_processes(address: &str) -> Vec<ShimProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| inspect(pid, address)).collect()
}

fn inspect(pid: u32, address: &str) -> Option<ShimProcess> {
    parse(&fs::read(format!("/proc/{pid}/cmdline")).ok()?, address)?;
    let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let handle = pidfd_open(raw, PidfdFlags::empty()).ok()?;
    // Read again: what the handle refers to may not be what was read before it was opened.
    let (namespace, id) = parse(&fs::read(format!("/proc/{pid}/cmdline")).ok()?, address)?;
    Some(ShimProcess { pid, namespace, id, handle })
}

/// Namespace and id, if this is the command line of a shim of the daemon at `address`.
fn parse(command_line: &[u8], address: &str) -> Option<(String, String)> {
    let mut words = command_line.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    let program = words.next()?;
    if !program.rsplit('/').next()?.starts_with("containerd-shim") {
        return None;
    }
    let (mut namespace, mut id, mut its_address) = (None, None, None);
    while let Some(word) = words.next() {
        // Go's flag package takes one dash or two.
        let slot = match word.trim_start_matches('-') {
            "namespace" => &mut namespace,
            "id" => &mut id,
            "address" => &mut its_address,
            _ => continue,
        };
        *slot = Some(words.next()?.into_owned());
    }
    (its_address? == address).then_some((namespace?, id?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_shims_of_this_daemon_are_recognised() {
        let line = |text: &str| text.replace(' ', "\0");
        let shim = "/usr/bin/containerd-shim-runc-v2 -namespace default -id c -address /run/a.sock";
        assert_eq!(parse(line(shim).as_bytes(), "/run/a.sock"), Some(("default".into(), "c".into())));
        let starting = format!("{} -publish-binary /usr/bin/x start", shim.replace(" -", " --"));
        assert!(parse(line(&starting).as_bytes(), "/run/a.sock").is_some());
        assert_eq!(parse(line(shim).as_bytes(), "/run/b.sock"), None);
        assert_eq!(parse(line(&shim.replace("containerd-shim-", "x-")).as_bytes(), "/run/a.sock"), None);
        assert_eq!(parse(b"", "/run/a.sock"), None);
    }

    #[test]
    fn a_shim_found_by_its_command_line_can_be_killed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("containerd-shim-test-v1");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        // sleep refuses the flags, so a shell stands in for the shim.
        let script = "exec -a \"$0\" sh -c 'read x' \"$@\"";
        let address = folder.path().join("sock").display().to_string();
        let mut child = Command::new("/bin/bash")
            .args(["-c", script, program.to_str().unwrap(), "-namespace", "n", "-id", "i", "-address", &address])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = loop {
            if let Some(found) = shim_processes(&address).pop() {
                break found;
            }
            assert!(child.try_wait().unwrap().is_none(), "the stand-in ended");
            std::thread::yield_now();
        };
        assert_eq!((found.pid, found.namespace.as_str(), found.id.as_str()), (child.id(), "n", "i"));
        found.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        found.kill().unwrap();
    }
}
