//! One connection per shim, however many of a pod's tasks it runs.

use super::Bootstrap;
use client::shim::Connection;
use model::Result;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::net::UnixStream;

/// The connections in use, by address.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<String, Weak<Shared>>>,
}

/// A connection that the tasks of one shim share. The last one dropped closes it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
}

impl Connections {
    /// The connection to the shim that `bootstrap` names: the one there is, or a new one.
    ///
    /// # Errors
    /// `Unimplemented` for a protocol of the future, else those of [`Connection::connect`].
    pub(crate) async fn to(&self, bootstrap: &Bootstrap, timeout: Duration) -> Result<Arc<Shared>> {
        let (protocol, address) = (bootstrap.protocol()?, bootstrap.address.as_str());
        if let Some(shared) = self.existing(address) {
            return Ok(shared);
        }
        let new = Connection::connect(protocol, address, timeout).await?;
        let new = Arc::new(Shared { connection: Arc::new(new) });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Two tasks of a pod may have connected at once.
        if let Some(other) = live(open.get(address)) {
            return Ok(other);
        }
        open.retain(|_, shared| shared.strong_count() > 0);
        open.insert(address.to_owned(), Arc::downgrade(&new));
        Ok(new)
    }

    fn existing(&self, address: &str) -> Option<Arc<Shared>> {
        live(self.open.lock().unwrap_or_else(PoisonError::into_inner).get(address))
    }
}

/// Removes the socket of a shim that is dead, as nobody else does. One that somebody listens on stays.
pub(crate) async fn remove_stale_socket(address: &str) {
    let Some(path) = address.strip_prefix("unix://") else { return };
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if let Err(error) = tokio::fs::remove_file(path).await {
                tracing::debug!(path, %error, "stale shim socket cannot be removed");
            }
        }
        _ => {}
    }
}

fn live(entry: Option<&Weak<Shared>>) -> Option<Arc<Shared>> {
    entry?.upgrade().filter(|shared| !shared.connection.is_closed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn tasks_of_one_shim_share_a_connection_until_the_last_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (address, wait) = (format!("unix://{}", path.display()), Duration::from_secs(5));
        let bootstrap = Bootstrap { version: 3, address: address.clone(), protocol: "TTRPC".into() };
        let connections = Connections::default();
        let one = connections.to(&bootstrap, wait).await.unwrap();
        let two = connections.to(&bootstrap, wait).await.unwrap();
        assert!(Arc::ptr_eq(&one, &two));
        let (peer, _) = listener.accept().await.unwrap();
        drop(peer);
        remove_stale_socket(&address).await;
        one.connection.closed().await;
        let three = connections.to(&bootstrap, wait).await.unwrap();
        assert!(!Arc::ptr_eq(&one, &three), "a dead connection is not handed out");
        drop(listener);
        remove_stale_socket(&address).await;
        assert!(!path.exists());
    }
}
