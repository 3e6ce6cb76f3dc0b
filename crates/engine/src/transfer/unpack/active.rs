//! An active snapshot on its way to be a layer: it is committed or it goes.

use model::{Labels, Mount, Result, Scope};
use store::Store;
use tokio::{runtime::Handle, sync::OwnedMutexGuard};

/// An active snapshot, which is removed on drop unless it was committed.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) store: Store,
    pub(super) scope: Scope,
    pub(super) snapshotter: String,
    pub(super) key: String,
    pub(super) mounts: Vec<Mount>,
    pub(super) committed: bool,
}

/// What became of a layer.
#[derive(Debug)]
pub(super) struct Extracted {
    /// To be committed; `None` if the layer's snapshot exists.
    pub(super) active: Option<Active>,
    /// Keeps others from extracting the same.
    pub(super) _chain: OwnedMutexGuard<()>,
}

impl Active {
    /// Makes durable what was unpacked into it.
    pub(super) fn settle(&self) -> Result<()> {
        self.store.settle_snapshot(&self.scope, &self.snapshotter, &self.key)
    }

    /// Makes it, once settled, the snapshot `name`. That somebody else has made that meanwhile is as good.
    pub(super) fn commit(mut self, name: &str, parent: &str, labels: Labels) -> Result<()> {
        match self.store.commit_settled_snapshot(&self.scope, &self.snapshotter, name, &self.key, parent, labels) {
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.committed = true;
                Ok(())
            }
        }
    }

    /// Whether the snapshotter has put the layer there already: it lets nobody write.
    pub(super) fn is_staged(&self) -> bool {
        self.mounts.last().is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    }

    /// Where to unpack a layer whose parent is named only later. It still deletes from that: whiteouts must be kept
    /// instead of carried out, which the applier does on an overlay mount, so that is what the bind mount is dressed
    /// up as (containerd does the same, its issue 13030).
    pub(super) fn mounts_apart(&self) -> Vec<Mount> {
        match &self.mounts[..] {
            [bind] if bind.fs_type == "bind" => {
                let mut options: Vec<String> =
                    bind.options.iter().filter(|option| *option != "rbind").cloned().collect();
                options.push(format!("upperdir={}", bind.source));
                vec![Mount { fs_type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
            }
            mounts => mounts.to_vec(),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let (store, scope) = (self.store.clone(), self.scope.clone());
        let (snapshotter, key) = (std::mem::take(&mut self.snapshotter), std::mem::take(&mut self.key));
        let remove = move || {
            if let Err(error) = store.remove_snapshot(&scope, &snapshotter, &key)
                && !error.is_not_found()
            {
                tracing::warn!(snapshotter, key, %error, "a layer extracted in part stays until it is collected");
            }
        };
        match Handle::try_current() {
            // Inside the runtime nothing may block; a thread of its pool may, and is inside too.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::tests::store;

    fn active(store: &Store, mounts: Vec<Mount>) -> Active {
        Active {
            store: store.clone(),
            scope: Scope::new(model::Namespace::new("default").unwrap()),
            snapshotter: "native".into(),
            key: "key".into(),
            mounts,
            committed: true,
        }
    }

    #[test]
    fn a_bind_mount_becomes_an_overlay_of_its_source() {
        let (_root, store) = store();
        let bind = |options: &[&str]| Mount {
            fs_type: "bind".into(),
            source: "/s/fs".into(),
            target: String::new(),
            options: options.iter().map(ToString::to_string).collect(),
        };
        let mounts = active(&store, vec![bind(&["rw", "rbind"])]).mounts_apart();
        assert_eq!((mounts[0].fs_type.as_str(), mounts[0].options.join(",")), ("overlay", "rw,upperdir=/s/fs".into()));
        assert!(active(&store, vec![bind(&["ro", "rbind"])]).is_staged());
        assert!(!active(&store, vec![bind(&["rw", "rbind"])]).is_staged());
        assert!(!active(&store, Vec::new()).is_staged());
    }
}
