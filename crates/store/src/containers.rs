//! Containers: records only; tasks and snapshots are not touched.

use crate::{
    Store,
    db::{Decoder, Encoder, Key, Kind, Read, Record},
    mask::{drop_empty, update_map},
    namespaces::ensure_namespace,
};
use model::{
    Container, Error, Event, FieldMask, Filter, Result, Runtime, Scope, Timestamp, validate_identifier, validate_labels,
};

impl Store {
    /// The container `id`.
    pub fn get_container(&self, scope: &Scope, id: &str) -> Result<Container> {
        let found = self.core.db.read()?.record(&key(scope, id), id)?;
        found.ok_or_else(|| Error::not_found(format!("container {id:?} in namespace {:?}", scope.namespace.as_str())))
    }

    /// The containers that match, by id.
    pub fn list_containers(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        self.each_container(scope, filter, |container| containers.push(container))?;
        Ok(containers)
    }

    /// Visits the containers that match, by id. The specs of others are not copied.
    pub fn each_container(&self, scope: &Scope, filter: &Filter, mut visit: impl FnMut(Container)) -> Result<()> {
        self.core.db.read()?.each(&Key::prefix(Kind::Container, &[scope.namespace.as_str()]), |path, value| {
            let id = path.last().copied().unwrap_or_default();
            let mut from = Decoder::versioned(Container::VERSION, value)?;
            let mut container = decode_head(id, &mut from)?;
            if filter.matches(&container) {
                decode_tail(&mut container, &mut from)?;
                visit(container);
            }
            Ok(())
        })
    }

    /// Creates a container record.
    pub fn create_container(&self, scope: &Scope, mut container: Container) -> Result<Container> {
        validate(&container).map_err(|error| error.context("create container failed validation"))?;
        let scope = scope.clone();
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            let key = key(&scope, &container.id);
            if tx.contains(&key)? {
                return Err(Error::already_exists(format!("container {:?}", container.id)));
            }
            container.created_at = Timestamp::now();
            container.updated_at = container.created_at;
            drop_empty(&mut container.labels);
            tx.put_record(&key, &container);
            tx.emit(
                &scope.namespace,
                Event::ContainerCreate {
                    id: container.id.clone(),
                    image: container.image.clone(),
                    runtime: container.runtime.clone(),
                },
            );
            Ok(container)
        })
    }

    /// Updates labels, spec, extensions, image or snapshot key as `mask` says.
    pub fn update_container(&self, scope: &Scope, container: Container, mask: &FieldMask) -> Result<Container> {
        if container.id.is_empty() {
            return Err(Error::invalid_argument("must specify a container id"));
        }
        let (scope, mask) = (scope.clone(), mask.clone());
        self.core.db.write(move |tx| {
            let key = key(&scope, &container.id);
            let stored: Option<Container> = tx.record(&key, &container.id)?;
            let mut updated = stored.ok_or_else(|| missing(&container.id))?;
            apply(&mut updated, &container, &mask)?;
            validate(&updated).map_err(|error| error.context("update failed validation"))?;
            updated.updated_at = Timestamp::now();
            drop_empty(&mut updated.labels);
            tx.put_record(&key, &updated);
            tx.emit(
                &scope.namespace,
                Event::ContainerUpdate {
                    id: updated.id.clone(),
                    image: updated.image.clone(),
                    labels: updated.labels.clone(),
                    snapshot_key: updated.snapshot_key.clone(),
                },
            );
            Ok(updated)
        })
    }

    /// Deletes a container record.
    pub fn delete_container(&self, scope: &Scope, id: &str) -> Result<()> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.core.db.write(move |tx| {
            let key = key(&scope, &id);
            tx.require(&key, || missing(&id))?;
            tx.delete(&key);
            tx.effects().deletions += 1;
            tx.emit(&scope.namespace, Event::ContainerDelete { id });
            Ok(())
        })
    }
}

fn apply(stored: &mut Container, new: &Container, mask: &FieldMask) -> Result<()> {
    if mask.is_empty() {
        for (field, same) in [
            ("Snapshotter", stored.snapshotter == new.snapshotter),
            ("Runtime.Name", stored.runtime.name == new.runtime.name),
        ] {
            if !same {
                return Err(Error::invalid_argument(format!("container.{field} field is immutable")));
            }
        }
    }
    let all = ["labels", "spec", "extensions", "image", "snapshotkey"];
    let paths: Vec<&str> = if mask.is_empty() { all.to_vec() } else { mask.paths().collect() };
    for path in paths {
        match path {
            "spec" => stored.spec.clone_from(&new.spec),
            "image" => stored.image.clone_from(&new.image),
            "snapshotkey" => stored.snapshot_key.clone_from(&new.snapshot_key),
            _ if update_map("labels", path, &mut stored.labels, &new.labels)
                || update_map("extensions", path, &mut stored.extensions, &new.extensions) => {}
            _ => return Err(Error::invalid_argument(format!("cannot update {path:?} field on {:?}", new.id))),
        }
    }
    Ok(())
}

fn validate(container: &Container) -> Result<()> {
    validate_identifier(&container.id).map_err(|error| error.context("container.ID"))?;
    if container.extensions.contains_key("") {
        return Err(Error::invalid_argument("container.Extension keys must not be zero-length"));
    }
    validate_labels(&container.labels).map_err(|error| error.context("containers.Labels"))?;
    let problem = if container.runtime.name.is_empty() {
        "container.Runtime.Name must be set"
    } else if container.spec.is_none() {
        "container.Spec must be set"
    } else if !container.snapshot_key.is_empty() && container.snapshotter.is_empty() {
        "container.Snapshotter must be set if container.SnapshotKey is set"
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(format!("container {:?}: {problem}", container.id)))
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("container {id:?}"))
}

fn key(scope: &Scope, id: &str) -> Key {
    Key::new(Kind::Container, &[scope.namespace.as_str(), id])
}

/// What filters and garbage collection look at comes first, what is large comes last.
fn decode_head(id: &str, from: &mut Decoder<'_>) -> Result<Container> {
    Ok(Container {
        id: id.to_owned(),
        labels: from.labels()?,
        created_at: from.time()?,
        updated_at: from.time()?,
        image: from.text()?,
        runtime: Runtime { name: from.text()?, options: None },
        snapshotter: from.text()?,
        snapshot_key: from.text()?,
        sandbox: from.text()?,
        ..Container::default()
    })
}

fn decode_tail(container: &mut Container, from: &mut Decoder<'_>) -> Result<()> {
    container.runtime.options = from.option(Decoder::any)?;
    container.spec = from.option(Decoder::any)?;
    container.extensions = from.map(Decoder::any)?;
    Ok(())
}

/// The snapshot that a container record refers to, without decoding the rest: snapshotter and key.
pub(crate) fn snapshot_of(id: &str, value: &[u8]) -> Result<Option<(String, String)>> {
    let container = decode_head(id, &mut Decoder::versioned(Container::VERSION, value)?)?;
    Ok((!container.snapshotter.is_empty()).then_some((container.snapshotter, container.snapshot_key)))
}

impl Record for Container {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
        out.time(self.created_at);
        out.time(self.updated_at);
        for text in [&self.image, &self.runtime.name, &self.snapshotter, &self.snapshot_key, &self.sandbox] {
            out.text(text);
        }
        out.option(self.runtime.options.as_ref(), Encoder::any);
        out.option(self.spec.as_ref(), Encoder::any);
        out.map(&self.extensions, Encoder::any);
    }

    fn decode(id: &str, from: &mut Decoder<'_>) -> Result<Self> {
        let mut container = decode_head(id, from)?;
        decode_tail(&mut container, from)?;
        Ok(container)
    }
}
