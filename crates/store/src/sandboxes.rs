//! Sandbox records; who runs them is another's business.

use crate::{
    Store,
    db::{Decoder, Encoder, Key, Kind, Read, Record},
    mask::{drop_empty, update_map},
    namespaces::ensure_namespace,
};
use model::{Error, FieldMask, Filter, Result, Runtime, Sandbox, Scope, Timestamp, validate_identifier};

impl Store {
    /// The sandbox `id`.
    pub fn get_sandbox(&self, scope: &Scope, id: &str) -> Result<Sandbox> {
        self.core.db.read()?.record(&key(scope, id), id)?.ok_or_else(|| missing(id))
    }

    /// The sandboxes that match, by id.
    pub fn list_sandboxes(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Sandbox>> {
        let mut sandboxes = Vec::new();
        let prefix = Key::prefix(Kind::Sandbox, &[scope.namespace.as_str()]);
        self.core.db.read()?.each_matching(&prefix, filter, |sandbox| sandboxes.push(sandbox))?;
        Ok(sandboxes)
    }

    /// Creates a sandbox record.
    pub fn create_sandbox(&self, scope: &Scope, mut sandbox: Sandbox) -> Result<Sandbox> {
        validate_identifier(&sandbox.id).map_err(|error| error.context("invalid sandbox ID"))?;
        let scope = scope.clone();
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            let key = key(&scope, &sandbox.id);
            if tx.contains(&key)? {
                return Err(Error::already_exists(format!("sandbox {:?}", sandbox.id)));
            }
            sandbox.created_at = Timestamp::now();
            sandbox.updated_at = sandbox.created_at;
            drop_empty(&mut sandbox.labels);
            tx.put_record(&key, &sandbox);
            Ok(sandbox)
        })
    }

    /// Updates labels, extensions, spec or runtime as `mask` says.
    pub fn update_sandbox(&self, scope: &Scope, sandbox: Sandbox, mask: &FieldMask) -> Result<Sandbox> {
        let (scope, mask) = (scope.clone(), mask.clone());
        self.core.db.write(move |tx| {
            let key = key(&scope, &sandbox.id);
            let stored: Option<Sandbox> = tx.record(&key, &sandbox.id)?;
            let mut updated = stored.ok_or_else(|| missing(&sandbox.id))?;
            apply(&mut updated, &sandbox, &mask)?;
            updated.updated_at = Timestamp::now();
            drop_empty(&mut updated.labels);
            tx.put_record(&key, &updated);
            Ok(updated)
        })
    }

    /// Deletes a sandbox record.
    pub fn delete_sandbox(&self, scope: &Scope, id: &str) -> Result<()> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.core.db.write(move |tx| {
            let key = key(&scope, &id);
            tx.require(&key, || missing(&id))?;
            tx.delete(&key);
            tx.effects().deletions += 1;
            Ok(())
        })
    }
}

fn apply(stored: &mut Sandbox, new: &Sandbox, mask: &FieldMask) -> Result<()> {
    if mask.is_empty() && stored.runtime.name != new.runtime.name {
        return Err(Error::invalid_argument("sandbox.Runtime.Name field is immutable"));
    }
    let all = ["labels", "extensions", "spec", "runtime"];
    let paths: Vec<&str> = if mask.is_empty() { all.to_vec() } else { mask.paths().collect() };
    for path in paths {
        match path {
            "spec" => stored.spec.clone_from(&new.spec),
            "runtime" => stored.runtime.clone_from(&new.runtime),
            _ if update_map("labels", path, &mut stored.labels, &new.labels)
                || update_map("extensions", path, &mut stored.extensions, &new.extensions) => {}
            _ => {
                let id = &new.id;
                return Err(Error::invalid_argument(format!("cannot update {path:?} field on sandbox {id:?}")));
            }
        }
    }
    Ok(())
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("sandbox {id:?}"))
}

fn key(scope: &Scope, id: &str) -> Key {
    Key::new(Kind::Sandbox, &[scope.namespace.as_str(), id])
}

impl Record for Sandbox {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
        out.time(self.created_at);
        out.time(self.updated_at);
        out.text(&self.sandboxer);
        out.text(&self.runtime.name);
        out.option(self.runtime.options.as_ref(), Encoder::any);
        out.option(self.spec.as_ref(), Encoder::any);
        out.map(&self.extensions, Encoder::any);
    }

    fn decode(id: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            labels: from.labels()?,
            created_at: from.time()?,
            updated_at: from.time()?,
            sandboxer: from.text()?,
            runtime: Runtime { name: from.text()?, options: from.option(Decoder::any)? },
            spec: from.option(Decoder::any)?,
            extensions: from.map(Decoder::any)?,
        })
    }
}
