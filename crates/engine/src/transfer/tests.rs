//! What the unit tests of transfers share.

use std::sync::Arc;
use store::{NoEvents, Store, StoreConfig, snapshot::Native};

/// A store with one snapshotter, in a directory of its own.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new(root.path());
    let native = Native::open(&root.path().join("native")).unwrap();
    // Nothing is collected unless a test asks for it.
    config.gc = None;
    config.snapshotters = vec![("native".to_owned(), Arc::new(native))];
    let store = Store::open(config, Arc::new(NoEvents)).unwrap();
    (root, store)
}
