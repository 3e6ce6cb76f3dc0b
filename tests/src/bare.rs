//! Containers made over gRPC alone, on one directory that they share: many of them are made in little time.

use std::fs;
use std::path::{Path, PathBuf};

use prost::{Message as _, Name as _};
use proto::api::containerd::runc::v1::Options;
use proto::api::containerd::services::containers::v1::{Container, container::Runtime};
use proto::api::containerd::services::tasks::v1::CreateTaskRequest;
use proto::api::containerd::types::Mount;
use serde_json::json;

/// Makes the directory: busybox, as the programs named.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn rootfs(dir: &Path, programs: &[&str]) -> PathBuf {
    let rootfs = dir.join("shared-rootfs");
    for name in ["bin", "proc", "dev"] {
        fs::create_dir_all(rootfs.join(name)).expect("make a directory");
    }
    for program in programs {
        crate::install("/bin/busybox".as_ref(), &rootfs.join("bin").join(program));
    }
    rootfs
}

/// A container record whose process is `args`, in namespaces and a control group of its own.
#[must_use]
pub fn container(id: &str, namespace: &str, args: &[&str]) -> Container {
    let spaces: Vec<_> = ["pid", "ipc", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/" },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
        "linux": { "cgroupsPath": format!("/{namespace}/{id}"), "namespaces": spaces },
    });
    let options = crate::programs::runtime().map(|binary| {
        let options = Options { binary_name: binary.display().to_string(), ..Options::default() };
        prost_types::Any { type_url: Options::full_name(), value: options.encode_to_vec() }
    });
    Container {
        id: id.to_owned(),
        runtime: Some(Runtime { name: "io.containerd.runc.v2".into(), options }),
        spec: Some(prost_types::Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".into(),
            value: spec.to_string().into_bytes(),
        }),
        ..Container::default()
    }
}

/// The request for its task, on the shared directory.
#[must_use]
pub fn create(id: &str, rootfs: &Path) -> CreateTaskRequest {
    let mount = Mount {
        r#type: "bind".into(),
        source: rootfs.display().to_string(),
        options: vec!["rbind".into(), "ro".into()],
        ..Mount::default()
    };
    CreateTaskRequest { container_id: id.to_owned(), rootfs: vec![mount], ..Default::default() }
}
