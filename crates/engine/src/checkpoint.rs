//! Checkpoints: a container's frozen processes as content, and back.
//!
//! The shim writes and reads a folder of CRIU images. We keep it below the task's work directory,
//! which goes with the bundle, and carry it as a tar of containerd's media type.

use crate::{
    CreateTask,
    tasks::{Task, Unpack, blocking},
};
use model::{Any, Descriptor, Error, Kind, Mount, Result, Scope};
use prost::{Message, Name};
use proto::{api::containerd::runc::v1 as runc, convert::any_to_wire};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use store::{Store, WriterOptions, layers};

/// A tar of CRIU images.
const IMAGE: &str = "application/vnd.containerd.container.criu.checkpoint.criu.tar";
/// The container's spec, as the `Any` of its record.
const CONFIG: &str = "application/vnd.containerd.container.checkpoint.config.v1+proto";
/// Under this annotation CRI names a folder in place of content.
const FROM_PATH: &str = "RestoreFromPath";

/// The folder of images that the options of `task` name, or empty.
///
/// # Errors
/// `InvalidArgument` for options that are not runc's but have to be.
pub(crate) fn named_folder(task: &CreateTask) -> Result<String> {
    let Some(options) = task.options.as_ref().filter(|any| any.type_url == runc::Options::full_name()) else {
        return Ok(String::new());
    };
    let options = runc::Options::decode(options.value.as_slice())
        .map_err(|error| Error::invalid_argument("malformed task options").caused_by(error))?;
    Ok(options.criu_image_path)
}

/// What fills a folder with the images in the blob `image`.
///
/// # Errors
/// `Unknown`, as containerd answers, for another media type; `Unimplemented` for CRI's annotation.
pub(crate) fn unpack(store: &Store, scope: &Scope, image: &Descriptor) -> Result<Unpack> {
    if image.annotations.contains_key(FROM_PATH) {
        return Err(Error::unimplemented(format!("restore of {} from a path", image.digest)));
    }
    if image.media_type != IMAGE {
        return Err(Error::unknown(format!("unsupported checkpoint type {:?}", image.media_type)));
    }
    let (store, scope, digest) = (store.clone(), scope.clone(), image.digest.clone());
    Ok(Box::new(move |folder: &Path| {
        let stream = store.open_reader(&scope, &digest)?.into_file();
        layers::apply(stream, layers::TAR, &[whole(folder)], &layers::ApplyOptions::default())?;
        Ok(())
    }))
}

/// Has the shim checkpoint `task`, into the folder that `options` name or else into content.
pub(crate) async fn checkpoint(
    store: &Store,
    scope: &Scope,
    task: &Task,
    options: Option<Any>,
    patience: Duration,
) -> Result<Vec<Descriptor>> {
    let folder = chosen_folder(options.as_ref())?;
    if !folder.is_empty() {
        task.checkpoint(folder, options, patience).await?;
        return Ok(Vec::new());
    }
    let scratch = Scratch::create(task)?;
    task.checkpoint(scratch.0.to_string_lossy().into_owned(), options, patience).await?;
    let (store, scope, id) = (store.clone(), scope.clone(), task.id().to_owned());
    blocking(move || {
        let spec = store.get_container(&scope, &id)?.spec.unwrap_or_default();
        let image = write_folder(&store, &scope, &scratch.0)?;
        let config = any_to_wire(spec).encode_to_vec();
        let reference = format!("{}/spec", scratch.0.display());
        let config = write(&store, &scope, reference, CONFIG, |writer| {
            writer.write(&config)?;
            Ok(())
        })?;
        Ok(vec![image, config])
    })
    .await
}

fn chosen_folder(options: Option<&Any>) -> Result<String> {
    let Some(options) = options else { return Ok(String::new()) };
    if options.type_url != runc::CheckpointOptions::full_name() {
        return Err(Error::unknown(format!("invalid task checkpoint option {:?}", options.type_url)));
    }
    let options = runc::CheckpointOptions::decode(options.value.as_slice())
        .map_err(|error| Error::invalid_argument("malformed checkpoint options").caused_by(error))?;
    Ok(options.image_path)
}

fn write_folder(store: &Store, scope: &Scope, folder: &Path) -> Result<Descriptor> {
    write(store, scope, folder.display().to_string(), IMAGE, |writer| {
        let options = layers::DiffOptions::default();
        layers::diff(&[], &[whole(folder)], layers::TAR, &options, Sink(writer))?;
        Ok(())
    })
}

/// One blob, written by `fill`; one that exists already is as good.
fn write(
    store: &Store,
    scope: &Scope,
    reference: String,
    media_type: &str,
    fill: impl FnOnce(&mut store::ContentWriter) -> Result<()>,
) -> Result<Descriptor> {
    let options = WriterOptions { reference, media_type: media_type.to_owned(), ..WriterOptions::default() };
    let mut writer = store.open_writer(scope, options)?;
    if let Err(error) = fill(&mut writer) {
        let _kept_until_it_expires = writer.abort();
        return Err(error);
    }
    let (digest, size) = (writer.digest()?, writer.status().offset);
    match writer.commit(size, Some(&digest), BTreeMap::new()) {
        Err(error) if error.kind() != Kind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() })
}

/// `folder` as mounts that show it.
fn whole(folder: &Path) -> Mount {
    Mount {
        fs_type: "bind".to_owned(),
        source: folder.to_string_lossy().into_owned(),
        target: String::new(),
        options: vec!["rbind".to_owned()],
    }
}

/// A content writer as [`std::io::Write`].
struct Sink<'a>(&'a mut store::ContentWriter);

impl std::io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A folder that is removed again; after a crash, it goes with the work directory it is in.
struct Scratch(PathBuf);

impl Scratch {
    fn create(task: &Task) -> Result<Self> {
        let failed = |error| Error::io(format!("checkpoint folder of task {}", task.id()), error);
        let folder = task.bundle.work().join("checkpoint");
        fs::create_dir(&folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::failed_precondition(format!("task {} is being checkpointed already", task.id()))
            }
            _ => failed(error),
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "checkpoint folder is left behind");
        }
    }
}
