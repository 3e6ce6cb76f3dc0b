//! A snapshotter in another process (`proxy_plugins`), behind containerd's own Snapshots service.
//!
//! The store calls from threads that may block; each call has a deadline, so that a remote that
//! hangs costs its callers time and nobody else. The connection is made with the first call, and
//! again after the remote was restarted.

use client::{Client, Reply};
use model::{Error, FieldMask, Labels, Mount, Namespace, Result, SnapshotInfo, SnapshotKind, Usage};
use proto::{api::containerd::services::snapshots::v1 as wire, convert::mask_to_wire};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError, mpsc},
    time::Duration,
};
use store::snapshot::{Capability, Commit, Driver, Live, Snapshot};
use tokio::{runtime::Handle, time};

/// The label by which a client says which layer it is about to unpack.
const REFERENCE: &str = "containerd.io/snapshot.ref";
/// The namespace of calls that concern no snapshot of any.
const DEFAULT: &str = "default";

/// How to reach a remote snapshotter, and what it is known to do.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Its name there, and in our configuration.
    pub name: String,
    /// Its unix socket.
    pub address: String,
    /// `rebase`, `remap-ids`, `only-remap-ids`.
    pub capabilities: Vec<Capability>,
    /// What introspection reports about it.
    pub exports: Labels,
    /// The longest a call may take that looks something up.
    pub quick: Duration,
    /// The longest a call may take that makes, commits, measures or removes: it may fetch a layer,
    /// or walk one.
    pub slow: Duration,
}

impl RemoteConfig {
    /// Snapshotter `name` at `address`, which can do the minimum, with our deadlines.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            capabilities: Vec::new(),
            exports: Labels::new(),
            quick: Duration::from_secs(30),
            slow: Duration::from_secs(600),
        }
    }
}

/// A snapshotter in another process.
#[derive(Debug)]
pub struct RemoteSnapshotter {
    config: RemoteConfig,
    client: Client,
    runtime: Handle,
    /// Namespaces that snapshots were made in: a remote may list each on its own.
    namespaces: Mutex<BTreeSet<String>>,
}

type Service = wire::snapshots_client::SnapshotsClient<client::Service>;

impl RemoteSnapshotter {
    /// The snapshotter that `config` describes. Must be called inside a tokio runtime, which
    /// carries its calls; does not connect yet.
    ///
    /// # Errors
    /// `InvalidArgument` for an address that is no socket's.
    pub fn new(config: RemoteConfig) -> Result<Self> {
        let client = Client::lazy(&config.address, Namespace::new(DEFAULT)?, config.quick)?;
        let namespaces = Mutex::new(BTreeSet::from([DEFAULT.to_owned()]));
        Ok(Self { config, client, runtime: Handle::current(), namespaces })
    }

    /// Runs one call about snapshot `key` on the runtime and waits for it.
    fn call<T, F>(&self, key: &str, deadline: Duration, call: impl FnOnce(Service) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let namespace = Namespace::new(namespace_of(key).unwrap_or(DEFAULT))?;
        let call = call(self.client.in_namespace(namespace)?.snapshots());
        let (sender, answer) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let result = time::timeout(deadline, call).await;
            let _caller_waits = sender.send(result);
        });
        let name = &self.config.name;
        match answer.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::deadline_exceeded(format!("snapshotter {name} did not answer in {deadline:?}"))),
            Err(_) => Err(Error::unavailable(format!("snapshotter {name}: the daemon is shutting down"))),
        }
    }

    /// Every snapshot that passes one of `filters` in the namespace of `key`.
    fn list(&self, key: &str, filters: Vec<String>) -> Result<Vec<SnapshotInfo>> {
        let request = wire::ListSnapshotsRequest { snapshotter: self.config.name.clone(), filters };
        self.call(key, self.config.slow, |mut service| async move {
            let mut stream = service.list(request).await.reply()?;
            let mut found = Vec::new();
            while let Some(part) = stream.message().await.map_err(client::error_of)? {
                for info in part.info {
                    found.push(SnapshotInfo::try_from(info)?);
                }
            }
            Ok(found)
        })
    }

    fn stat(&self, key: &str) -> Result<SnapshotInfo> {
        let request = wire::StatSnapshotRequest { snapshotter: self.config.name.clone(), key: key.to_owned() };
        let info = self.call(key, self.config.quick, |mut service| async move {
            service.stat(request).await.reply().map(|answer| answer.info)
        })?;
        info.ok_or_else(|| Error::internal(format!("snapshotter said nothing of {key}")))?.try_into()
    }

    fn remove_key(&self, key: &str) -> Result<()> {
        let request = wire::RemoveSnapshotRequest { snapshotter: self.config.name.clone(), key: key.to_owned() };
        let removed =
            self.call(key, self.config.slow, |mut service| async move { service.remove(request).await.reply() });
        match removed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn namespaces(&self) -> Vec<String> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Driver for RemoteSnapshotter {
    fn capabilities(&self) -> Vec<Capability> {
        self.config.capabilities.clone()
    }

    fn exports(&self) -> Labels {
        self.config.exports.clone()
    }

    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        if let Some(namespace) = namespace_of(snapshot.key) {
            self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
        }
        let (snapshotter, key) = (self.config.name.clone(), snapshot.key.to_owned());
        let (parent, labels) = (snapshot.parent.to_owned(), snapshot.labels.clone());
        let mounts = if snapshot.kind == SnapshotKind::View {
            let request = wire::ViewSnapshotRequest { snapshotter, key, parent, labels };
            self.call(snapshot.key, self.config.slow, |mut service| async move {
                service.view(request).await.reply().map(|answer| answer.mounts)
            })
        } else {
            let request = wire::PrepareSnapshotRequest { snapshotter, key, parent, labels };
            self.call(snapshot.key, self.config.slow, |mut service| async move {
                service.prepare(request).await.reply().map(|answer| answer.mounts)
            })
        }?;
        Ok(mounts.into_iter().map(Mount::from).collect())
    }

    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        let request = wire::MountsRequest { snapshotter: self.config.name.clone(), key: snapshot.key.to_owned() };
        let mounts = self.call(snapshot.key, self.config.quick, |mut service| async move {
            service.mounts(request).await.reply().map(|answer| answer.mounts)
        })?;
        Ok(mounts.into_iter().map(Mount::from).collect())
    }

    fn commit(&self, snapshot: &Snapshot<'_>, commit: &Commit<'_>) -> Result<()> {
        if commit.rebase.is_some() && !self.config.capabilities.contains(&Capability::Rebase) {
            return Err(store::snapshot::cannot_rebase(&self.config.name, snapshot.key));
        }
        let request = wire::CommitSnapshotRequest {
            snapshotter: self.config.name.clone(),
            name: commit.key.to_owned(),
            key: snapshot.key.to_owned(),
            labels: commit.labels.clone(),
            parent: commit.rebase.unwrap_or_default().to_owned(),
        };
        self.call(snapshot.key, self.config.slow, |mut service| async move { service.commit(request).await.reply() })?;
        Ok(())
    }

    fn usage(&self, snapshot: &Snapshot<'_>) -> Result<Usage> {
        let request = wire::UsageRequest { snapshotter: self.config.name.clone(), key: snapshot.key.to_owned() };
        self.call(snapshot.key, self.config.slow, |mut service| async move {
            service.usage(request).await.reply().map(Usage::from)
        })
    }

    /// The remote remembers it itself, and a layer that it fetches as it is read still grows.
    fn usage_is_fixed(&self) -> bool {
        false
    }

    fn update(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let info =
            wire::Info { name: snapshot.key.to_owned(), labels: snapshot.labels.clone(), ..wire::Info::default() };
        let request = wire::UpdateSnapshotRequest {
            snapshotter: self.config.name.clone(),
            info: Some(info),
            update_mask: mask_to_wire(&FieldMask(vec!["labels".to_owned()])),
        };
        self.call(snapshot.key, self.config.quick, |mut service| async move { service.update(request).await.reply() })?;
        Ok(())
    }

    fn labels(&self, snapshot: &Snapshot<'_>) -> Result<Labels> {
        Ok(self.stat(snapshot.key)?.labels)
    }

    fn find(&self, reference: &str, parent: &str) -> Result<Option<SnapshotInfo>> {
        // A remote may know no filters, so what it lists is looked at again.
        let filters = vec![format!("labels.{REFERENCE:?}=={reference:?},parent=={parent:?}")];
        let mut found = Vec::new();
        for namespace in self.namespaces() {
            found.extend(self.list(&format!("{namespace}/"), filters.clone())?);
        }
        Ok(found.into_iter().find(|info| {
            info.kind == SnapshotKind::Committed
                && info.parent == parent
                && info.labels.get(REFERENCE).is_some_and(|label| label == reference)
        }))
    }

    fn remove(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        self.remove_key(snapshot.key)
    }

    fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        let mut found = HashMap::new();
        for namespace in self.namespaces() {
            found.extend(
                self.list(&format!("{namespace}/"), Vec::new())?.into_iter().map(|info| (info.name, info.parent)),
            );
        }
        let live = live()?;
        // Others may keep snapshots there: only what is named as ours are is.
        found.retain(|name, _| is_ours(name) && !live.keys.contains(name));
        remove_leaves_first(found, |name| self.remove_key(name))?;
        let request = wire::CleanupRequest { snapshotter: self.config.name.clone() };
        let cleaned =
            self.call("", self.config.slow, |mut service| async move { service.cleanup(request).await.reply() });
        match cleaned {
            Err(error) if error.kind() == model::Kind::Unimplemented => Ok(()),
            other => other,
        }
    }
}

/// Removes what has no child, until nothing is left; the first error, after everything that can go has gone.
fn remove_leaves_first(mut found: HashMap<String, String>, mut remove: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut first_error = Ok(());
    while !found.is_empty() {
        let parents: HashSet<&String> = found.values().collect();
        let leaves: Vec<String> = found.keys().filter(|name| !parents.contains(name)).cloned().collect();
        if leaves.is_empty() {
            return Err(Error::internal("snapshotter lists snapshots that are their own ancestors"));
        }
        for leaf in leaves {
            if let Err(error) = remove(&leaf) {
                first_error = first_error.and(Err(error));
            }
            found.remove(&leaf);
        }
    }
    first_error
}

/// The namespace in a backend key, `<namespace>/<number>/<name>`.
fn namespace_of(key: &str) -> Option<&str> {
    key.split_once('/').map(|(namespace, _)| namespace).filter(|namespace| !namespace.is_empty())
}

fn is_ours(key: &str) -> bool {
    let mut parts = key.splitn(3, '/');
    let namespace = parts.next().is_some_and(|name| model::validate_identifier(name).is_ok());
    let number = parts.next().is_some_and(|number| number.parse::<u64>().is_ok());
    namespace && number && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_others_are_left_alone() {
        for ours in ["default/1/key", "k8s.io/77/sha256:ab", "a/1/b/c"] {
            assert!(is_ours(ours), "{ours}");
        }
        for others in ["key", "default/key", "default/x/key", "/1/key", "1"] {
            assert!(!is_ours(others), "{others}");
        }
    }

    #[test]
    fn children_go_before_their_parents() {
        let found =
            [("a", ""), ("b", "a"), ("c", "b"), ("d", "live")].map(|(name, parent)| (name.into(), parent.into()));
        let mut order = Vec::new();
        remove_leaves_first(found.into(), |name| {
            order.push(name.to_owned());
            if name == "b" { Err(Error::unavailable("b")) } else { Ok(()) }
        })
        .unwrap_err();
        let at = |name: &str| order.iter().position(|seen| seen == name).unwrap();
        assert!(at("c") < at("b") && at("b") < at("a"));
        assert_eq!(order.len(), 4);
        let cycle = [("a", "b"), ("b", "a")].map(|(name, parent)| (name.into(), parent.into()));
        assert!(remove_leaves_first(cycle.into(), |_| Ok(())).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_remote_that_is_not_there_or_hangs_costs_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let stat = async |deadline: Duration| {
            let mut config = RemoteConfig::new("far", socket.display().to_string());
            (config.quick, config.slow) = (deadline, deadline);
            let remote = RemoteSnapshotter::new(config).unwrap();
            tokio::task::spawn_blocking(move || remote.stat("default/1/key")).await.unwrap().unwrap_err()
        };
        assert_eq!(stat(Duration::from_secs(60)).await.kind(), model::Kind::Unavailable);
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = stat(Duration::from_millis(200)).await;
        assert_eq!(error.kind(), model::Kind::DeadlineExceeded, "{error}");
    }
}
