//! Leases: what clients hold objects with while they work.

use crate::{
    Store,
    db::{Decoder, Encoder, Key, Kind, Read, Record, Tx},
    mask::drop_empty,
    namespaces::{delete_below, ensure_namespace},
};
use model::{Digest, Error, Filter, Labels, Lease, Resource, Result, Scope, Timestamp};

impl Store {
    /// The lease `id`.
    pub fn get_lease(&self, scope: &Scope, id: &str) -> Result<Lease> {
        self.core.db.read()?.record(&key(scope, id), id)?.ok_or_else(|| missing(id))
    }

    /// The leases that match, by id.
    pub fn list_leases(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        let prefix = Key::prefix(Kind::Lease, &[scope.namespace.as_str()]);
        self.core.db.read()?.each_matching(&prefix, filter, |lease| leases.push(lease))?;
        Ok(leases)
    }

    /// Creates the lease `id`.
    pub fn create_lease(&self, scope: &Scope, id: &str, labels: Labels) -> Result<Lease> {
        Key::check("lease id", id)?;
        let mut lease = Lease { id: id.to_owned(), created_at: Timestamp::now(), labels };
        drop_empty(&mut lease.labels);
        let scope = scope.clone();
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            let key = key(&scope, &lease.id);
            if tx.contains(&key)? {
                return Err(Error::already_exists(format!("lease {:?}", lease.id)));
            }
            tx.put_record(&key, &lease);
            Ok(lease)
        })
    }

    /// Deletes a lease; what it alone held is garbage from now on.
    pub fn delete_lease(&self, scope: &Scope, id: &str) -> Result<()> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.core.db.write(move |tx| {
            let key = key(&scope, &id);
            tx.require(&key, || missing(&id))?;
            tx.delete(&key);
            delete_below(tx, &Key::prefix(Kind::LeaseResource, &[scope.namespace.as_str(), &id]))?;
            tx.effects().deletions += 1;
            Ok(())
        })
    }

    /// Holds `resource`, which need not exist.
    pub fn add_lease_resource(&self, scope: &Scope, id: &str, resource: &Resource) -> Result<()> {
        check(resource)?;
        let scope = Scope { namespace: scope.namespace.clone(), lease: Some(id.to_owned()) };
        let (id, resource) = (id.to_owned(), resource.clone());
        self.core.db.write(move |tx| {
            tx.require(&key(&scope, &id), || missing(&id))?;
            hold(tx, &scope, &resource).map(drop)
        })
    }

    /// Lets go of `resource`; not holding it is no error.
    pub fn remove_lease_resource(&self, scope: &Scope, id: &str, resource: &Resource) -> Result<()> {
        check(resource)?;
        let scope = Scope { namespace: scope.namespace.clone(), lease: Some(id.to_owned()) };
        let (id, resource) = (id.to_owned(), resource.clone());
        self.core.db.write(move |tx| {
            tx.require(&key(&scope, &id), || missing(&id))?;
            release(tx, &scope, &resource);
            tx.effects().deletions += 1;
            Ok(())
        })
    }

    /// What the lease holds: content, images, ingests, snapshots.
    pub fn list_lease_resources(&self, scope: &Scope, id: &str) -> Result<Vec<Resource>> {
        let db = self.core.db.read()?;
        db.require(&key(scope, id), || missing(id))?;
        let mut resources = Vec::new();
        db.each(&Key::prefix(Kind::LeaseResource, &[scope.namespace.as_str(), id]), |path, _| {
            resources.push(resource(path)?);
            Ok(())
        })?;
        resources.sort_by_key(|resource| match resource {
            Resource::Content(_) => 0,
            Resource::Image(_) => 1,
            Resource::Ingest(_) => 2,
            Resource::Snapshot(..) => 3,
        });
        Ok(resources)
    }
}

/// Adds `resource` to the request's lease, if it has one: `true`.
pub(crate) fn hold(tx: &mut Tx<'_, '_>, scope: &Scope, resource: &Resource) -> Result<bool> {
    let Some(lease) = &scope.lease else { return Ok(false) };
    check_lease(tx, scope)?;
    tx.put(&resource_key(scope, lease, resource), Vec::new());
    Ok(true)
}

/// Removes `resource` from the request's lease, if it has one.
pub(crate) fn release(tx: &mut Tx<'_, '_>, scope: &Scope, resource: &Resource) {
    if let Some(lease) = &scope.lease {
        tx.delete(&resource_key(scope, lease, resource));
    }
}

/// Refuses a request that carries an unknown lease.
pub(crate) fn check_lease(db: &impl Read, scope: &Scope) -> Result<()> {
    match &scope.lease {
        Some(lease) if !db.contains(&key(scope, lease))? => {
            Err(Error::not_found(format!("lease {lease:?} does not exist")))
        }
        _ => Ok(()),
    }
}

/// The resource that the components of its key name.
pub(crate) fn resource(path: &[&str]) -> Result<Resource> {
    match path {
        [_, _, kind, id] => Resource::parse(kind, id),
        _ => Err(Error::data_loss("metadata: bad key of a lease's resource")),
    }
}

fn check(resource: &Resource) -> Result<()> {
    if let Resource::Content(id) = resource {
        let parsed: Result<Digest> = id.parse();
        parsed.map_err(|error| error.context(format!("invalid content resource id {id}")))?;
    }
    Key::check("resource id", resource.id())
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("lease {id:?}"))
}

fn key(scope: &Scope, id: &str) -> Key {
    Key::new(Kind::Lease, &[scope.namespace.as_str(), id])
}

fn resource_key(scope: &Scope, lease: &str, resource: &Resource) -> Key {
    Key::new(Kind::LeaseResource, &[scope.namespace.as_str(), lease, &resource.kind(), resource.id()])
}

impl Record for Lease {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
        out.time(self.created_at);
    }

    fn decode(id: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self { id: id.to_owned(), labels: from.labels()?, created_at: from.time()? })
    }
}
