//! The label that says which repositories a blob was seen in, from where a later push may mount it.

use distribution::Repository;
use model::{Digest, FieldMask, Labels, Result, Scope, validate_labels};
use store::Store;

/// `containerd.io/distribution.source.<host>`, with repositories joined by commas.
const PREFIX: &str = "containerd.io/distribution.source.";

/// One repository's part of the label.
#[derive(Clone, Debug)]
pub(crate) struct SourceLabel {
    pub(crate) key: String,
    pub(crate) repository: String,
}

impl SourceLabel {
    pub(crate) fn of(repository: &Repository) -> Self {
        // containerd leaves the port out.
        let registry = repository.registry();
        let host = match registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => registry.split(':').next().unwrap_or_default(),
        };
        Self { key: format!("{PREFIX}{host}"), repository: repository.name().to_owned() }
    }

    /// For a new blob. None if the label would be too long.
    pub(crate) fn labels(&self) -> Labels {
        let labels = Labels::from([(self.key.clone(), self.repository.clone())]);
        if validate_labels(&labels).is_ok() { labels } else { Labels::new() }
    }

    /// Adds the repository to those of a blob that is there.
    pub(crate) fn append(&self, store: &Store, scope: &Scope, digest: &Digest) -> Result<()> {
        let labels = store.blob_info(scope, digest)?.labels;
        let known = labels.get(&self.key).map(String::as_str).unwrap_or_default();
        let mut repositories: Vec<&str> = known.split(',').filter(|repository| !repository.is_empty()).collect();
        repositories.push(&self.repository);
        repositories.sort_unstable();
        repositories.dedup();
        let value = repositories.join(",");
        let wanted = Labels::from([(self.key.clone(), value)]);
        // A layer of very many images: as containerd, we leave it at those that fit.
        if wanted.get(&self.key).map(String::as_str) == Some(known) || validate_labels(&wanted).is_err() {
            return Ok(());
        }
        store.update_blob(scope, digest, wanted, &FieldMask(vec![format!("labels.{}", self.key)])).map(drop)
    }

    /// The repository, among those of `labels`, that a blob is most likely mounted from: the one nearest to ours by
    /// its path, the last of equals, as containerd chooses.
    pub(crate) fn nearest(&self, labels: &Labels) -> Option<String> {
        let near = |other: &&str| {
            let parts = self.repository.split('/').zip(other.split('/'));
            parts.take_while(|(ours, theirs)| ours == theirs).count()
        };
        let others = labels.get(&self.key)?.split(',').filter(|other| !other.is_empty() && *other != self.repository);
        others.max_by_key(near).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_repository_is_mounted_from() {
        let label = SourceLabel { key: "k".into(), repository: "team/app/web".into() };
        let nearest = |value: &str| label.nearest(&Labels::from([("k".into(), value.into())]));
        assert_eq!(nearest("other/x,team/app/db,team/y").as_deref(), Some("team/app/db"));
        assert_eq!(nearest("team/a,team/b").as_deref(), Some("team/b"));
        assert_eq!(nearest("team/app/web"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(label.nearest(&Labels::new()), None);
    }
}
