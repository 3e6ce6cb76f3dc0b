//! fstab-style mount options, told apart into what the system calls take.

use model::{Error, Result};
use rustix::mount::{MountFlags, MountPropagationFlags};

/// `MS_REMOUNT`, which rustix keeps to itself.
pub(super) const REMOUNT: MountFlags = MountFlags::from_bits_retain(0x20);

/// A mount's options, sorted.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) flags: MountFlags,
    /// Applied by a call of its own, after the mount.
    pub(super) propagation: MountPropagationFlags,
    /// What the file system itself is told, in order.
    pub(super) data: Vec<String>,
    /// Owners to shift: the maps of user and group ids.
    pub(super) id_maps: Option<(String, String)>,
}

/// What an option does to the flags.
enum Effect {
    Set(MountFlags),
    Clear(MountFlags),
    Propagate(MountPropagationFlags),
}

impl Options {
    /// Sorts `options`; what is not known is left to the file system.
    ///
    /// # Errors
    /// `InvalidArgument` for options that a mount manager should have taken out, `Unimplemented` for loop
    /// devices.
    pub(super) fn parse(options: &[String]) -> Result<Self> {
        let mut parsed = Self {
            flags: MountFlags::empty(),
            propagation: MountPropagationFlags::empty(),
            data: Vec::new(),
            id_maps: None,
        };
        let (mut uids, mut gids) = (None, None);
        for option in options {
            match effect(option) {
                Some(Effect::Set(flags)) => parsed.flags |= flags,
                Some(Effect::Clear(flags)) => parsed.flags &= !flags,
                Some(Effect::Propagate(flags)) => parsed.propagation |= flags,
                None if option == "defaults" => {}
                None if option == "loop" => {
                    return Err(Error::unimplemented("mount option \"loop\": loop devices are not supported"));
                }
                None if option.starts_with("X-containerd.") => {
                    let text = format!("mount option {option:?} is for a mount manager, which did not consume it");
                    return Err(Error::invalid_argument(text));
                }
                None => match option.split_once('=') {
                    Some(("uidmap", map)) => uids = Some(map.to_owned()),
                    Some(("gidmap", map)) => gids = Some(map.to_owned()),
                    _ => parsed.data.push(option.clone()),
                },
            }
        }
        // As in containerd, one map alone shifts nothing.
        parsed.id_maps = uids.zip(gids);
        Ok(parsed)
    }
}

fn effect(option: &str) -> Option<Effect> {
    use Effect::{Clear, Propagate, Set};
    let propagation = |flags| Some(Propagate(flags));
    match option {
        "shared" => return propagation(MountPropagationFlags::SHARED),
        "slave" => return propagation(MountPropagationFlags::DOWNSTREAM),
        "private" => return propagation(MountPropagationFlags::PRIVATE),
        "unbindable" => return propagation(MountPropagationFlags::UNBINDABLE),
        "rshared" => return propagation(MountPropagationFlags::SHARED | MountPropagationFlags::REC),
        "rslave" => return propagation(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC),
        "rprivate" => return propagation(MountPropagationFlags::PRIVATE | MountPropagationFlags::REC),
        "runbindable" => return propagation(MountPropagationFlags::UNBINDABLE | MountPropagationFlags::REC),
        _ => {}
    }
    Some(match option {
        "bind" => Set(MountFlags::BIND),
        "rbind" => Set(MountFlags::BIND | MountFlags::REC),
        "remount" => Set(REMOUNT),
        "ro" => Set(MountFlags::RDONLY),
        "rw" => Clear(MountFlags::RDONLY),
        "nosuid" => Set(MountFlags::NOSUID),
        "suid" => Clear(MountFlags::NOSUID),
        "nodev" => Set(MountFlags::NODEV),
        "dev" => Clear(MountFlags::NODEV),
        "noexec" => Set(MountFlags::NOEXEC),
        "exec" => Clear(MountFlags::NOEXEC),
        "sync" => Set(MountFlags::SYNCHRONOUS),
        "async" => Clear(MountFlags::SYNCHRONOUS),
        "dirsync" => Set(MountFlags::DIRSYNC),
        "mand" => Set(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "nomand" => Clear(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "noatime" => Set(MountFlags::NOATIME),
        "atime" => Clear(MountFlags::NOATIME),
        "nodiratime" => Set(MountFlags::NODIRATIME),
        "diratime" => Clear(MountFlags::NODIRATIME),
        "relatime" => Set(MountFlags::RELATIME),
        "norelatime" => Clear(MountFlags::RELATIME),
        "strictatime" => Set(MountFlags::STRICTATIME),
        "nostrictatime" => Clear(MountFlags::STRICTATIME),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Options> {
        Options::parse(&options.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn flags_propagation_maps_and_data_are_told_apart() {
        let options =
            ["ro", "rbind", "rprivate", "uidmap=0:1000:10", "gidmap=0:2000:10", "index=off", "nosuid", "suid"];
        let parsed = parse(&options).unwrap();
        assert_eq!(parsed.flags, MountFlags::RDONLY | MountFlags::BIND | MountFlags::REC);
        assert_eq!(parsed.propagation, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
        assert_eq!(parsed.data, ["index=off"]);
        assert_eq!(parsed.id_maps, Some((String::from("0:1000:10"), String::from("0:2000:10"))));
        assert!(parse(&["uidmap=0:1000:10"]).unwrap().id_maps.is_none());
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        assert!(parse(&["ro", "rw"]).unwrap().flags.is_empty());
        assert_eq!(parse(&["rw", "ro"]).unwrap().flags, MountFlags::RDONLY);
    }

    #[test]
    fn what_nobody_here_can_do_is_refused() {
        assert_eq!(parse(&["loop"]).unwrap_err().kind(), model::Kind::Unimplemented);
        assert_eq!(parse(&["X-containerd.mkfs.size=1"]).unwrap_err().kind(), model::Kind::InvalidArgument);
    }
}
