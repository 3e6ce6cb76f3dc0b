//! Where a blob came from, noted on it: a push may then mount it from there.

use distribution::Reference;
use model::Labels;

/// The label's key before the registry's name.
const PREFIX: &str = "containerd.io/distribution.source.";

/// Longest key and value of a label together.
const MAX: usize = 4096;

/// The note that a blob is in a repository.
#[derive(Clone, Debug)]
pub(crate) struct SourceLabel {
    /// The registry's name without its port, as containerd writes it.
    host: String,
    repository: String,
}

impl SourceLabel {
    /// The note for what comes from `remote`.
    pub(crate) fn of(remote: &Reference) -> Self {
        Self { host: remote.host_name().to_owned(), repository: remote.repository.clone() }
    }

    /// The label's key.
    pub(crate) fn key(&self) -> String {
        format!("{PREFIX}{}", self.host)
    }

    /// Adds the note to `labels`; `known` is what the label was before: repositories, sorted, with commas between.
    pub(crate) fn add_to(&self, known: Option<&str>, labels: &mut Labels) {
        let mut repositories: Vec<&str> =
            known.unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
        repositories.push(&self.repository);
        repositories.sort_unstable();
        repositories.dedup();
        let (key, value) = (self.key(), repositories.join(","));
        // A note is not worth a refused blob.
        if key.len() + value.len() <= MAX {
            labels.insert(key, value);
        }
    }

    /// Another repository of the registry that `labels` say has the blob: the one nearest to ours by its path, the last
    /// of equals, as containerd chooses.
    pub(crate) fn other<'a>(&self, labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Option<&'a str> {
        let key = self.key();
        let (_, value) = labels.into_iter().find(|(name, _)| **name == key)?;
        let near = |other: &&str| {
            let parts = self.repository.split('/').zip(other.split('/'));
            parts.take_while(|(ours, theirs)| ours == theirs).count()
        };
        value.split(',').filter(|name| !name.is_empty() && *name != self.repository).max_by_key(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_added_once() {
        let label = SourceLabel::of(&super::super::reference("r.example:5000/b:1").unwrap());
        let mut labels = Labels::new();
        label.add_to(None, &mut labels);
        let key = "containerd.io/distribution.source.r.example";
        assert_eq!(labels[key], "b");
        label.add_to(Some("c,a,b"), &mut labels);
        assert_eq!(labels[key], "a,b,c");
        assert_eq!(label.other(&labels), Some("c"));
        let ours = SourceLabel::of(&super::super::reference("r.example/team/b:1").unwrap());
        let known = Labels::from([(key.to_owned(), "other/a,team/c,zoo/d".to_owned())]);
        assert_eq!(ours.other(&known), Some("team/c"));
        assert_eq!(label.other(&Labels::from([(key.to_owned(), "b".to_owned())])), None);
        assert!(SourceLabel::of(&super::super::reference("[::1]:5000/b:1").unwrap()).key().ends_with(".::1"));
        let mut labels = Labels::new();
        label.add_to(Some(&"x".repeat(MAX)), &mut labels);
        assert!(labels.is_empty());
    }
}
