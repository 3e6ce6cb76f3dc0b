//! Devices a container may use.

use super::linux::ALL_ACCESS;
use super::types::{Device, DeviceRule, Spec};
use model::{Error, Result};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Character devices that are harmless: major and minor, no minor meaning all.
const HARMLESS: &[(i64, Option<i64>)] = &[
    (1, Some(3)), // null
    (1, Some(8)), // random
    (1, Some(7)), // full
    (5, Some(0)), // tty
    (1, Some(5)), // zero
    (1, Some(9)), // urandom
    (5, Some(1)), // console
    (136, None),  // pts
    (5, Some(2)), // ptmx
];

/// Folders of /dev that hold no devices, or devices of others.
const SKIPPED: &[&str] = &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// Deepest folder of /dev looked into.
const MAX_DEPTH: usize = 16;

impl Spec {
    /// Allows the devices that every container has.
    pub fn allow_default_devices(&mut self) {
        self.linux.resources.devices.extend(HARMLESS.iter().map(|&(major, minor)| DeviceRule {
            allow: true,
            kind: "c".into(),
            major: Some(major),
            minor,
            access: ALL_ACCESS.into(),
        }));
    }

    /// Allows every device and creates those of the host.
    pub fn add_host_devices(&mut self) -> Result<()> {
        self.linux.resources.devices = vec![DeviceRule::all(true)];
        collect(Path::new("/dev"), MAX_DEPTH, &mut self.linux.devices)
    }

    /// Creates and allows the device at `path`, or all of those in the folder there.
    pub fn add_device(&mut self, path: &str) -> Result<()> {
        let mut devices = Vec::new();
        let metadata = fs::metadata(path).map_err(|error| Error::io(format!("device {path}"), error))?;
        if metadata.is_dir() {
            collect(Path::new(path), MAX_DEPTH, &mut devices)?;
        } else {
            let device = device(Path::new(path)).map_err(|error| Error::io(format!("device {path}"), error))?;
            devices.push(device.ok_or_else(|| Error::invalid_argument(format!("{path} is not a device")))?);
        }
        self.linux.resources.devices.extend(devices.iter().map(|device| DeviceRule {
            allow: true,
            kind: device.kind.clone(),
            major: Some(device.major),
            minor: Some(device.minor),
            access: ALL_ACCESS.into(),
        }));
        self.linux.devices.extend(devices);
        Ok(())
    }
}

/// Adds every device below `folder`.
fn collect(folder: &Path, depth: usize, devices: &mut Vec<Device>) -> Result<()> {
    let failed = |error| Error::io(format!("list devices in {}", folder.display()), error);
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(failed)?.collect::<io::Result<_>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if is_folder && depth > 0 && !SKIPPED.iter().any(|&skipped| name == skipped) {
            collect(&path, depth - 1, devices)?;
        } else if !is_folder && name != "console" {
            match device(&path) {
                Ok(found) => devices.extend(found),
                // Devices come and go.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(format!("device {}", path.display()), error)),
            }
        }
    }
    Ok(())
}

/// The device at `path`, if it is one.
fn device(path: &Path) -> io::Result<Option<Device>> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return Ok(None),
    };
    let Some(path) = path.to_str() else { return Ok(None) };
    Ok(Some(Device {
        path: path.to_owned(),
        kind: kind.into(),
        major: rustix::fs::major(metadata.rdev()).into(),
        minor: rustix::fs::minor(metadata.rdev()).into(),
        file_mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_created_and_allowed() {
        let mut spec = Spec::linux("default", "x");
        spec.add_device("/dev/null").unwrap();
        let device = &spec.linux.devices[0];
        assert_eq!((device.major, device.minor, device.kind.as_str()), (1, 3, "c"));
        assert_eq!(spec.linux.resources.devices.last().unwrap().minor, Some(3));
        assert!(spec.add_device("/etc/passwd").is_err());
        assert!(spec.add_device("/dev/no-such-device").unwrap_err().is_not_found());
    }
}
