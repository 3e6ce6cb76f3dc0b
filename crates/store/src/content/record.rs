//! An ingest's directory: what is kept beside the data so that an ingest can be listed and resumed.
//!
//! None of it is synced. After a power cut a file may be missing or torn; then there is no status, and the
//! ingest is begun anew, which is all it is worth.

use super::Hasher;
use model::{Algorithm, IngestStatus, Timestamp};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The directory of one ingest.
#[derive(Debug)]
pub(super) struct Record(PathBuf);

impl Record {
    /// The directory of ingest `reference` in `ingests`: the hash of the reference keeps names short and safe.
    pub(super) fn of(ingests: &Path, reference: &str) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(reference.as_bytes());
        // A SHA-256 always makes a digest; should it not, the empty name cannot be made into a directory.
        Self(ingests.join(hasher.digest().map(|digest| digest.hex().to_owned()).unwrap_or_default()))
    }

    /// The directory `dir`, as found in a listing.
    pub(super) fn at(dir: PathBuf) -> Self {
        Self(dir)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Writes all files but the data, in a directory that exists.
    pub(super) fn begin(&self, status: &IngestStatus) -> io::Result<()> {
        fs::write(self.0.join("ref"), &status.reference)?;
        fs::write(self.0.join("startedat"), status.started_at.to_rfc3339())?;
        fs::write(self.0.join("updatedat"), status.updated_at.to_rfc3339())?;
        if status.total > 0 {
            fs::write(self.0.join("total"), status.total.to_string())?;
        }
        Ok(())
    }

    /// Notes when it was last written.
    pub(super) fn touch(&self, updated_at: Timestamp) -> io::Result<()> {
        let temporary = self.0.join("updatedat.tmp");
        fs::write(&temporary, updated_at.to_rfc3339())?;
        fs::rename(temporary, self.0.join("updatedat"))
    }

    /// What the files say. Fails unless all that is needed to resume is there and fits the directory's name.
    pub(super) fn status(&self) -> io::Result<IngestStatus> {
        let data = fs::metadata(self.data())?;
        let reference = fs::read_to_string(self.0.join("ref"))?;
        if Self::of(Path::new(""), &reference).0.file_name() != self.0.file_name() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file ref does not fit the directory's name"));
        }
        let total = match fs::read_to_string(self.0.join("total")) {
            Ok(text) => text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad total"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(IngestStatus {
            reference,
            offset: data.len(),
            total,
            expected: None,
            started_at: self.time("startedat")?,
            // The data's own time is newer while it is being written.
            updated_at: self.time("updatedat")?.max(data.modified()?.into()),
        })
    }

    fn time(&self, name: &str) -> io::Result<Timestamp> {
        let text = fs::read_to_string(self.0.join(name))?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("bad time {text:?} in {name}"));
        Timestamp::parse_rfc3339(text.trim()).ok_or_else(bad)
    }

    /// Removes the directory.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.0)
    }
}
