//! Blobs read from the daemon's own files, by those who may.
//!
//! What comes over the connection is copied four times more often than what is read from a file. The daemon says where
//! its content store is (its plugin's export `root`, as containerd's does), and the store's layout is containerd's. A
//! client that sees those files and may open them reads them there; any other asks the daemon for the bytes. Whether a
//! namespace has a blob, its files do not tell: that is asked of the daemon.

use crate::{Client, Reply as _};
use model::{Digest, Kind, Result};
use proto::api::containerd::services::introspection::v1::PluginsRequest;
use std::{
    fs::{self, File},
    path::PathBuf,
};

/// Where the daemon has its blobs, if it tells.
#[derive(Clone, Debug)]
pub struct Folder(Option<PathBuf>);

impl Client {
    /// Asks the daemon where its content store is.
    ///
    /// # Errors
    /// The daemon's; one that offers no introspection is none.
    pub async fn content_folder(&self) -> Result<Folder> {
        let filters = vec!["type==io.containerd.content.v1,id==content".to_owned()];
        let reply = match self.introspection().plugins(PluginsRequest { filters }).await.reply() {
            Err(error) if error.kind() == Kind::Unimplemented => return Ok(Folder(None)),
            reply => reply.map_err(|error| error.context("ask where content is"))?,
        };
        let root = reply.plugins.into_iter().find_map(|mut plugin| plugin.exports.remove("root"));
        Ok(Folder(root.map(PathBuf::from).filter(|root| root.is_absolute())))
    }
}

impl Folder {
    /// The file of blob `digest`, unless we cannot see it here, or it has another size than `size` bytes.
    pub fn open(&self, digest: &Digest, size: u64) -> Option<File> {
        let path = self.0.as_ref()?.join("blobs").join(digest.algorithm().as_str()).join(digest.hex());
        // Looked at before: opening what is no file might wait.
        let good = |found: fs::Metadata| (found.is_file() && found.len() == size).then_some(());
        fs::symlink_metadata(&path).ok().and_then(good)?;
        File::open(path).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Algorithm;

    #[test]
    fn only_what_is_a_blob_s_file_is_opened() {
        let root = tempfile::tempdir().unwrap();
        let blobs = root.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let [file, link, absent] = [1, 2, 3].map(|byte| Digest::from_hash(Algorithm::Sha256, &[byte; 32]).unwrap());
        fs::write(blobs.join(file.hex()), "blob").unwrap();
        std::os::unix::fs::symlink(blobs.join(file.hex()), blobs.join(link.hex())).unwrap();
        let folder = Folder(Some(root.path().to_owned()));
        assert!(folder.open(&file, 4).is_some());
        assert!(folder.open(&file, 5).is_none(), "another size");
        assert!(folder.open(&link, 4).is_none());
        assert!(folder.open(&absent, 4).is_none());
        assert!(Folder(None).open(&file, 4).is_none());
    }
}
