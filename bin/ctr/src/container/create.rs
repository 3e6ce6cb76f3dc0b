//! Makes a container record: image, snapshot, spec, runtime.

use super::flags::{ContainerFlags, RunFlags};
use super::mounts::parse_mappings;
use super::spec::{Rootfs, build};
use crate::context::Context;
use crate::flags::{labels, required};
use crate::output;
use client::spec::{IdMapping, RootFiles, SPEC_TYPE};
use client::{Client, ImageContent, Platforms, Reply as _, Silent, Unpacker};
use model::{Error, Labels, Mount, Result};
use proto::api::containerd::services::containers::v1::container::Runtime;
use proto::api::containerd::services::containers::v1::{Container, CreateContainerRequest};
use proto::api::containerd::services::snapshots::v1::PrepareSnapshotRequest;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The signal that asks the image's process to stop.
const LABEL_STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

/// What the arguments of `run` and `containers create` name.
pub(crate) struct Target<'a> {
    /// Image or root filesystem; none if the whole spec is in a file.
    reference: Option<&'a str>,
    pub(crate) id: &'a str,
    args: &'a [String],
}

/// Splits `IMAGE ID [COMMAND...]`, or `ID` alone if the spec is in a file.
pub(crate) fn target_of_args<'a>(args: &'a [String], config: Option<&str>) -> Result<Target<'a>> {
    if config.is_some() {
        if args.len() > 1 {
            return Err(Error::invalid_argument("with spec config file, only container id should be provided"));
        }
        return Ok(Target { reference: None, id: required(args.first(), "container id")?, args: &[] });
    }
    let reference = Some(required(args.first(), "image ref")?);
    let id = required(args.get(1), "container id")?;
    Ok(Target { reference, id, args: &args[2..] })
}

/// Creates the container under a lease, so that its snapshot is held until the container holds it.
pub(crate) async fn create(
    context: &Context,
    client: &Client,
    target: &Target<'_>,
    flags: &ContainerFlags,
    run: Option<&RunFlags>,
) -> Result<Container> {
    let cgroup = run.and_then(|run| run.cgroup.as_deref());
    let options = flags.runtime.options(cgroup)?;
    let create = async |client: Client| {
        let mut container = Container {
            id: target.id.to_owned(),
            labels: labels(&flags.label),
            runtime: Some(Runtime { name: flags.runtime.runtime.clone(), options }),
            sandbox: flags.sandbox.clone().unwrap_or_default(),
            ..Container::default()
        };
        let spec = match &flags.config {
            Some(path) => spec_from_file(path, flags)?,
            None => {
                let rootfs = prepare_rootfs(&client, target, flags, run, &mut container).await?;
                let namespace = context.namespace()?;
                let spec = build(namespace.as_str(), target.id, flags, run, &rootfs, target.args)?;
                json!(spec)
            }
        };
        let value = serde_json::to_vec(&spec).map_err(|error| Error::internal("write the spec").caused_by(error))?;
        container.spec = Some(proto::Any { type_url: SPEC_TYPE.into(), value });
        let request = CreateContainerRequest { container: Some(container) };
        let reply = client.containers().create(request).await.reply()?;
        reply.container.ok_or_else(|| Error::internal("the daemon's answer has no container"))
    };
    client.under_lease(create).await
}

/// The spec in a file, with the labels as annotations.
fn spec_from_file(path: &str, flags: &ContainerFlags) -> Result<Value> {
    let text = std::fs::read(path).map_err(|error| Error::io(format!("read spec {path}"), error))?;
    let mut spec: Value = serde_json::from_slice(&text)
        .map_err(|error| Error::invalid_argument(format!("spec {path} is not JSON")).caused_by(error))?;
    if !spec.is_object() {
        return Err(Error::invalid_argument(format!("spec {path} is not a JSON object")));
    }
    for (key, value) in labels(&flags.label) {
        if !spec["annotations"].is_object() {
            spec["annotations"] = json!({});
        }
        spec["annotations"][key] = value.into();
    }
    Ok(spec)
}

/// The root filesystem: a folder, or a new snapshot of an image.
async fn prepare_rootfs(
    client: &Client,
    target: &Target<'_>,
    flags: &ContainerFlags,
    run: Option<&RunFlags>,
    container: &mut Container,
) -> Result<Rootfs> {
    let reference = target.reference.unwrap_or_default();
    if flags.rootfs {
        let path = std::path::absolute(reference).map_err(|error| Error::io(format!("rootfs {reference}"), error))?;
        let files = RootFiles::at(&path)?;
        return Ok(Rootfs { files, image: None, path: Some(path.to_string_lossy().into_owned()) });
    }
    let image = client.image(reference).await.map_err(|error| match error.is_not_found() {
        true => error.context(format!(
            "no image {reference:?} in namespace {:?} (see `ctr images ls`; `ctr images pull NAME` and `ctr images import FILE` bring images in)",
            client.namespace().as_str()
        )),
        false => error,
    })?;
    let platforms = Platforms::parse_or_host(run.and_then(|run| run.platform.as_deref()))?;
    let content = client.image_content(&client::target_of(&image)?, &platforms).await?;
    let sync_fs = run.is_some_and(|run| run.sync_fs);
    let unpacker = Unpacker::new(client, flags.snapshotter.name(), sync_fs, Arc::new(Silent)).await?;
    if !unpacker.is_unpacked(&content).await? {
        unpacker.unpack(&content).await?;
    }
    let labels = std::mem::take(&mut container.labels);
    container.labels = container_labels(&content, image.labels, labels);
    container.image = image.name;
    container.snapshotter = unpacker.snapshotter().to_owned();
    container.snapshot_key = target.id.to_owned();
    let mounts = prepare_snapshot(client, container, &content, flags, run).await?;
    let files = RootFiles::mounted(&mounts)?;
    Ok(Rootfs { files, image: Some(content.image.config), path: None })
}

/// Labels of the image's config, of its record and of the command line, the later ones prevailing.
fn container_labels(content: &ImageContent, image: Labels, own: Labels) -> Labels {
    let config = &content.image.config;
    let mut labels = Labels::new();
    let from_image = config.labels.clone().into_iter().chain(image);
    for (key, value) in from_image {
        match model::validate_label(&key, &value) {
            Ok(()) => drop(labels.insert(key, value)),
            Err(error) => output::warn(&format!("label {key:?} of the image is left out: {error}")),
        }
    }
    labels.extend(own);
    let signal = Some(&config.stop_signal).filter(|signal| !signal.is_empty());
    labels.insert(LABEL_STOP_SIGNAL.into(), signal.cloned().unwrap_or_else(|| "SIGTERM".into()));
    labels
}

async fn prepare_snapshot(
    client: &Client,
    container: &Container,
    content: &ImageContent,
    flags: &ContainerFlags,
    run: Option<&RunFlags>,
) -> Result<Vec<Mount>> {
    let mut snapshot_labels = labels(&flags.snapshotter_label);
    if let Some(run) = run.filter(|run| !run.uidmap.is_empty() && !run.gidmap.is_empty()) {
        if !run.remap_labels {
            return Err(Error::unimplemented(
                "--uidmap and --gidmap need --remap-labels: copying the root filesystem with other owners is not \
                 yet supported",
            ));
        }
        for (label, texts) in [("uidmapping", &run.uidmap), ("gidmapping", &run.gidmap)] {
            let ranges: Vec<String> = parse_mappings(texts)?.iter().map(range).collect();
            snapshot_labels.insert(format!("containerd.io/snapshot/{label}"), ranges.join(","));
        }
    }
    let request = PrepareSnapshotRequest {
        snapshotter: container.snapshotter.clone(),
        key: container.snapshot_key.clone(),
        parent: content.chain_id()?.map(|chain_id| chain_id.to_string()).unwrap_or_default(),
        labels: snapshot_labels,
    };
    let reply = client.snapshots().prepare(request).await.reply().map_err(|error| match error.is_already_exists() {
        true => error.context(format!(
            "container id {:?} is taken (remove it with `ctr containers rm`, or choose another)",
            container.id
        )),
        false => error,
    })?;
    Ok(reply.mounts.into_iter().map(mount_of).collect())
}

fn range(mapping: &IdMapping) -> String {
    format!("{}:{}:{}", mapping.container, mapping.host, mapping.size)
}

/// A mount from a message.
pub(crate) fn mount_of(mount: proto::api::containerd::types::Mount) -> Mount {
    Mount { fs_type: mount.r#type, source: mount.source, target: mount.target, options: mount.options }
}

/// Writes `pid` to a file that is whole at any time.
pub(crate) fn write_pid_file(path: &str, pid: u32) -> Result<()> {
    let failed = |error| Error::io(format!("write pid file {path}"), error);
    let temporary = format!("{path}.{}", client::unique_part());
    std::fs::write(&temporary, pid.to_string()).map_err(failed)?;
    std::fs::rename(&temporary, Path::new(path)).map_err(failed)
}
