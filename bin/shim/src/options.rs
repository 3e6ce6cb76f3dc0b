//! `containerd.runc.v1.Options`: decoded from the request, kept in the bundle for `delete`.

use model::{Error, Result};
use prost::Message as _;
use proto::api::containerd::runc::v1::Options;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How the options are named in an `Any`.
pub(crate) const TYPE_URL: &str = "containerd.runc.v1.Options";

const FILE: &str = "options.json";

/// The options in `any`; defaults when there are none.
pub(crate) fn from_any(any: Option<&proto::Any>) -> Result<Options> {
    let Some(any) = any.filter(|any| !any.value.is_empty() || !any.type_url.is_empty()) else {
        return Ok(Options::default());
    };
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name != TYPE_URL {
        return Err(Error::invalid_argument(format!("runtime options of type {:?} are not for runc", any.type_url)));
    }
    Options::decode(any.value.as_slice()).map_err(|error| Error::invalid_argument("runtime options").caused_by(error))
}

/// The part of the options `delete` needs, in the file and under the names Go uses.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// `--root` of the runtime; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) root: String,
    /// The runtime's binary; empty for runc.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) binary_name: String,
    /// Whether cgroups are made through systemd.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) systemd_cgroup: bool,
}

/// Writes what `delete` needs into `bundle`.
pub(crate) fn store(bundle: &Path, options: &Options) -> Result<()> {
    let stored = Stored {
        root: options.root.clone(),
        binary_name: options.binary_name.clone(),
        systemd_cgroup: options.systemd_cgroup,
    };
    let json = serde_json::to_vec(&stored).map_err(|error| Error::internal("options.json").caused_by(error))?;
    let write = |name: &str, data: &[u8]| {
        let path = bundle.join(name);
        std::fs::write(&path, data).map_err(|error| Error::io(format!("write {}", path.display()), error))
    };
    write(FILE, &json)?;
    // Go's older shims read the binary's name from here.
    write("runtime", options.binary_name.as_bytes())
}

/// What [`store`], or Go's shim, wrote into `bundle`; defaults when there is no such file.
pub(crate) fn load(bundle: &Path) -> Stored {
    std::fs::read(bundle.join(FILE)).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_options_come_back_and_go_files_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), Stored::default());
        let options = Options { root: "/r".into(), systemd_cgroup: true, ..Options::default() };
        store(dir.path(), &options).unwrap();
        assert_eq!(load(dir.path()).root, "/r");
        assert!(load(dir.path()).systemd_cgroup);
        std::fs::write(dir.path().join(FILE), r#"{"binary_name":"crun","io_uid":7}"#).unwrap();
        assert_eq!(load(dir.path()).binary_name, "crun");
    }

    #[test]
    fn foreign_options_are_refused() {
        let any = proto::Any { type_url: "runtimeoptions.v1.Options".into(), value: vec![] };
        assert!(from_any(Some(&any)).unwrap_err().to_string().contains("runtimeoptions.v1.Options"));
        let broken = proto::Any { type_url: TYPE_URL.into(), value: vec![0xff] };
        assert!(from_any(Some(&broken)).is_err());
        assert_eq!(from_any(None).unwrap(), Options::default());
    }
}
