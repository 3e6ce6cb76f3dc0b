//! Whom a shim serves: the namespace, the container it was started for, and the daemon.

use crate::flags::Flags;
use model::{Error, Result};
use std::path::PathBuf;

/// Who we are.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The containerd namespace of every container here.
    pub(crate) namespace: String,
    /// The container the shim was started for; of a group, the first.
    pub(crate) id: String,
    /// containerd's gRPC socket, part of our own socket's name.
    pub(crate) address: String,
    /// containerd's ttrpc socket, which takes our events.
    pub(crate) events: PathBuf,
    /// The bundle of `id`.
    pub(crate) bundle: PathBuf,
    /// Whether to log more.
    pub(crate) debug: bool,
}

impl Identity {
    /// Reads the flags, the environment and the working directory.
    pub(crate) fn new(flags: &Flags) -> Result<Self> {
        if flags.namespace.is_empty() {
            return Err(Error::invalid_argument("shim namespace cannot be empty"));
        }
        if flags.action.is_some() {
            check_name("container", &flags.id)?;
        }
        let bundle = std::env::current_dir().map_err(|error| Error::io("working directory", error))?;
        let events = std::env::var_os("TTRPC_ADDRESS").unwrap_or_default();
        // containerd passes the bare path; accept the URL form as well.
        let events = match events.to_str().and_then(|address| address.strip_prefix("unix://")) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(events),
        };
        Ok(Self {
            namespace: flags.namespace.clone(),
            id: flags.id.clone(),
            address: flags.address.clone(),
            events,
            bundle,
            debug: flags.debug,
        })
    }
}

/// Refuses a name that could leave its directory or be taken for a flag of runc.
///
/// containerd has checked it already; a shim trusts nobody with its paths.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let safe = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@:".contains(&byte));
    if safe { Ok(()) } else { Err(Error::invalid_argument(format!("{what} id {name:?} is invalid"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for good in ["a", "redis-1", "0f3.b_c"] {
            check_name("container", good).unwrap();
        }
        for bad in ["", "..", "a/b", "-rf", "a\0b", "ü"] {
            assert_eq!(check_name("exec", bad).unwrap_err().kind(), model::Kind::InvalidArgument, "{bad:?}");
        }
    }
}
