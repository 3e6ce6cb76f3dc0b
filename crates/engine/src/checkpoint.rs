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
    let mut writer = store.open_writer(scope, &options)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::Namespace;
    use std::sync::Arc;
    use store::{NoEvents, StoreConfig};

    #[test]
    fn images_survive_the_way_through_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(folder.path().join("root"));
        config.gc = None;
        let store = Store::open(config, Arc::new(NoEvents)).unwrap();
        let scope = Scope::new(Namespace::new("default").unwrap());
        let (images, restored) = (folder.path().join("images"), folder.path().join("restored"));
        for path in [&images, &restored] {
            fs::create_dir(path).unwrap();
        }
        fs::write(images.join("pages-1.img"), vec![7; 100_000]).unwrap();
        fs::create_dir(images.join("descriptors")).unwrap();
        let written = write_folder(&store, &scope, &images).unwrap();
        assert_eq!(written.media_type, IMAGE);
        // The same once more is the same blob.
        assert_eq!(write_folder(&store, &scope, &images).unwrap().digest, written.digest);
        unpack(&store, &scope, &written).unwrap()(&restored).unwrap();
        assert_eq!(fs::read(restored.join("pages-1.img")).unwrap(), vec![7; 100_000]);
        assert!(restored.join("descriptors").is_dir());

        let other = Descriptor { media_type: "text/plain".to_owned(), ..written.clone() };
        assert_eq!(unpack(&store, &scope, &other).err().unwrap().kind(), Kind::Unknown);
        let from_path = Descriptor { annotations: [(FROM_PATH.to_owned(), "/x".to_owned())].into(), ..written };
        assert_eq!(unpack(&store, &scope, &from_path).err().unwrap().kind(), Kind::Unimplemented);
    }

    #[test]
    fn options_of_other_runtimes_name_no_folder() {
        let options = runc::Options { criu_image_path: "/images".to_owned(), ..Default::default() };
        let any = |name: String| Some(Any { type_url: name, value: options.encode_to_vec() });
        let task = |options| CreateTask { options, ..CreateTask::default() };
        assert_eq!(named_folder(&task(any(runc::Options::full_name()))).unwrap(), "/images");
        assert_eq!(named_folder(&task(any("runtimeoptions.v1.Options".to_owned()))).unwrap(), "");
        assert_eq!(named_folder(&task(None)).unwrap(), "");
        assert!(chosen_folder(any("other".to_owned()).as_ref()).is_err());
    }
}
