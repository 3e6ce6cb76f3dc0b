//! Images: names for content.

use crate::{
    Store,
    db::{Decoder, Encoder, Key, Kind, Read, Record},
    gc::EXPIRE,
    leases::{hold, release},
    mask::{drop_empty, update_map},
    namespaces::ensure_namespace,
};
use model::{
    Descriptor, Digest, Error, Event, FieldMask, Filter, Image, Resource, Result, Scope, Timestamp, validate_labels,
};

impl Store {
    /// The image `name`.
    pub fn get_image(&self, scope: &Scope, name: &str) -> Result<Image> {
        self.core.db.read()?.record(&key(scope, name), name)?.ok_or_else(|| missing(name))
    }

    /// The images that match, by name.
    pub fn list_images(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        self.each_image(scope, filter, |image| images.push(image))?;
        Ok(images)
    }

    /// Visits the images that match, by name.
    pub fn each_image(&self, scope: &Scope, filter: &Filter, visit: impl FnMut(Image)) -> Result<()> {
        let prefix = Key::prefix(Kind::Image, &[scope.namespace.as_str()]);
        self.core.db.read()?.each_matching(&prefix, filter, visit)
    }

    /// Creates an image. Its times are now, or `at` (`source_date_epoch`).
    pub fn create_image(&self, scope: &Scope, mut image: Image, at: Option<Timestamp>) -> Result<Image> {
        validate(&image)?;
        let scope = scope.clone();
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            let key = key(&scope, &image.name);
            if tx.contains(&key)? {
                return Err(Error::already_exists(format!("image {:?}", image.name)));
            }
            image.created_at = at.unwrap_or_else(Timestamp::now);
            image.updated_at = image.created_at;
            drop_empty(&mut image.labels);
            drop_empty(&mut image.target.annotations);
            hold_if_collectible(tx, &scope, &image)?;
            tx.put_record(&key, &image);
            let (name, labels) = (image.name.clone(), image.labels.clone());
            tx.emit(&scope.namespace, Event::ImageCreate { name, labels });
            Ok(image)
        })
    }

    /// Updates labels, target or annotations as `mask` says; an empty mask replaces the image.
    pub fn update_image(&self, scope: &Scope, image: Image, mask: &FieldMask, at: Option<Timestamp>) -> Result<Image> {
        if image.name.is_empty() {
            return Err(Error::invalid_argument("image name is required for update"));
        }
        let (scope, mask) = (scope.clone(), mask.clone());
        self.core.db.write(move |tx| {
            let key = key(&scope, &image.name);
            let stored: Image = tx.record(&key, &image.name)?.ok_or_else(|| missing(&image.name))?;
            let created_at = stored.created_at;
            let mut updated = apply(stored, image, &mask)?;
            validate(&updated)?;
            updated.created_at = created_at;
            updated.updated_at = at.unwrap_or_else(Timestamp::now);
            drop_empty(&mut updated.labels);
            drop_empty(&mut updated.target.annotations);
            hold_if_collectible(tx, &scope, &updated)?;
            tx.put_record(&key, &updated);
            let (name, labels) = (updated.name.clone(), updated.labels.clone());
            tx.emit(&scope.namespace, Event::ImageUpdate { name, labels });
            Ok(updated)
        })
    }

    /// Deletes an image; with `target` only if it still points there (else `NotFound`).
    pub fn delete_image(&self, scope: &Scope, name: &str, target: Option<&Digest>) -> Result<()> {
        let (scope, name, target) = (scope.clone(), name.to_owned(), target.cloned());
        self.core.db.write(move |tx| {
            let key = key(&scope, &name);
            let image: Image = tx.record(&key, &name)?.ok_or_else(|| missing(&name))?;
            if let Some(target) = target
                && target != image.target.digest
            {
                let digest = image.target.digest;
                return Err(Error::not_found(format!("image {name:?} has target {digest}, not {target}")));
            }
            release(tx, &scope, &Resource::Image(name.clone()));
            tx.delete(&key);
            tx.effects().deletions += 1;
            tx.emit(&scope.namespace, Event::ImageDelete { name });
            Ok(())
        })
    }
}

/// Images are roots by themselves; only one that expires needs a lease to hold it.
fn hold_if_collectible(tx: &mut crate::db::Tx<'_, '_>, scope: &Scope, image: &Image) -> Result<()> {
    if image.labels.contains_key(EXPIRE) {
        hold(tx, scope, &Resource::Image(image.name.clone()))?;
    }
    Ok(())
}

fn apply(mut stored: Image, new: Image, mask: &FieldMask) -> Result<Image> {
    if mask.is_empty() {
        return Ok(new);
    }
    for path in mask.paths() {
        if path == "target" {
            stored.target = new.target.clone();
        } else if !update_map("labels", path, &mut stored.labels, &new.labels)
            && !update_map("annotations", path, &mut stored.target.annotations, &new.target.annotations)
        {
            let name = &new.name;
            return Err(Error::invalid_argument(format!("cannot update {path:?} field on image {name:?}")));
        }
    }
    Ok(stored)
}

fn validate(image: &Image) -> Result<()> {
    Key::check("image name", &image.name)?;
    validate_labels(&image.labels).map_err(|error| error.context("image.Labels"))?;
    if image.target.size == 0 {
        return Err(Error::invalid_argument(format!("image {:?}: target.Size must be greater than zero", image.name)));
    }
    if image.target.media_type.is_empty() {
        return Err(Error::invalid_argument(format!("image {:?}: target.MediaType must be set", image.name)));
    }
    Ok(())
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("image {name:?}"))
}

fn key(scope: &Scope, name: &str) -> Key {
    Key::new(Kind::Image, &[scope.namespace.as_str(), name])
}

impl Record for Image {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
        out.time(self.created_at);
        out.time(self.updated_at);
        out.text(self.target.digest.as_str());
        out.text(&self.target.media_type);
        out.number(self.target.size);
        out.labels(&self.target.annotations);
    }

    fn decode(name: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            labels: from.labels()?,
            created_at: from.time()?,
            updated_at: from.time()?,
            target: Descriptor {
                digest: from.str()?.parse()?,
                media_type: from.text()?,
                size: from.number()?,
                annotations: from.labels()?,
            },
        })
    }
}
