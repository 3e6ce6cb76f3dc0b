//! The few fields of an OCI runtime spec that decide how a bundle is made.

use model::{Any, Error, Result};
use serde::Deserialize;
use std::path::{Component, Path};

/// The type of a spec in containerd's records; its value is JSON.
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// What we read of a spec.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    linux: Option<Linux>,
    mounts: Option<Vec<SpecMount>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
    gid_mappings: Option<Vec<IdMapping>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecMount {
    options: Option<Vec<String>>,
    uid_mappings: Option<Vec<IdMapping>>,
    gid_mappings: Option<Vec<IdMapping>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IdMapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
}

impl Spec {
    /// Reads `spec` if it is an OCI spec; other types (a sandbox's own) are nobody's business here.
    ///
    /// # Errors
    /// `Unknown`, as containerd answers, if it is not JSON of the right shape.
    pub(crate) fn parse(container: &str, spec: &Any) -> Result<Self> {
        if spec.type_url != SPEC_TYPE {
            return Ok(Self::default());
        }
        serde_json::from_slice(&spec.value)
            .map_err(|error| Error::unknown(format!("spec of container {container}")).caused_by(error))
    }

    /// The host's gid for the container's group 0, if a user namespace maps it elsewhere.
    pub(crate) fn remapped_gid(&self) -> Option<u32> {
        let mappings = self.linux.as_ref()?.gid_mappings.as_ref()?;
        mappings.iter().find(|mapping| mapping.container_id == 0).map(|mapping| mapping.host_id).filter(|&gid| gid != 0)
    }

    /// The container's cgroup below each hierarchy's root, if it is a plain path (with systemd as
    /// manager it is not, and systemd removes it).
    pub(super) fn cgroup(&self) -> Option<&Path> {
        let path = Path::new(self.linux.as_ref()?.cgroups_path.as_ref()?);
        let rest = path.strip_prefix("/").ok()?;
        let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && rest.components().next().is_some()).then_some(rest)
    }

    /// Whether a mount asks for shifted owners, which an older OCI runtime silently ignores.
    pub(crate) fn uses_idmap_mounts(&self) -> bool {
        let shifted = |mount: &SpecMount| {
            mount.uid_mappings.is_some()
                || mount.gid_mappings.is_some()
                || mount.options.iter().flatten().any(|option| option == "idmap" || option == "ridmap")
        };
        self.mounts.iter().flatten().any(shifted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Spec> {
        Spec::parse("c", &Any { type_url: SPEC_TYPE.into(), value: json.into() })
    }

    #[test]
    fn reads_what_a_bundle_depends_on() {
        let spec = parse(
            r#"{"ociVersion":"1.0","annotations":{"a":"b"},
                "linux":{"gidMappings":[{"containerID":5,"hostID":1,"size":1},{"containerID":0,"hostID":9000,"size":9}]},
                "mounts":[{"destination":"/a","options":["ro"]},{"destination":"/b","options":["idmap"]}]}"#,
        )
        .unwrap();
        assert_eq!((spec.remapped_gid(), spec.uses_idmap_mounts()), (Some(9000), true));
        let plain = parse(r#"{"linux":null,"mounts":[{"uidMappings":null}]}"#).unwrap();
        assert_eq!((plain.remapped_gid(), plain.uses_idmap_mounts()), (None, false));
    }

    #[test]
    fn a_cgroup_stays_below_its_root() {
        let cgroup = |path: &str| {
            let spec = parse(&format!(r#"{{"linux":{{"cgroupsPath":"{path}"}}}}"#)).unwrap();
            spec.cgroup().map(Path::to_owned)
        };
        assert_eq!(cgroup("/default/c").unwrap(), Path::new("default/c"));
        for other in ["", "/", "/a/../..", "relative", "system.slice:ctr:c"] {
            assert_eq!(cgroup(other), None, "{other}");
        }
    }

    #[test]
    fn a_spec_that_is_not_json_is_an_error_and_a_foreign_one_is_not() {
        assert_eq!(parse("{").unwrap_err().kind(), model::Kind::Unknown);
        assert!(Spec::parse("c", &Any { type_url: "other".into(), value: b"{".to_vec() }).is_ok());
    }
}
