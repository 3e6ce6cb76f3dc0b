//! How `--local` imports name images.

use crate::archive::{ANNOTATION_NAME, ANNOTATION_REF};
use crate::oci::Descriptor;

/// How images of an archive get their names.
#[derive(Clone, Debug)]
pub struct Naming {
    /// Put before a mere tag: `prefix:tag`.
    pub prefix: String,
    /// Whether images that the archive's OCI names call otherwise than `prefix` are left out; containerd's own names stay.
    pub only_prefix: bool,
    /// Whether each image also gets the name `prefix@digest`.
    pub digests: bool,
    /// Whether that is left out for images that have a name.
    pub skip_digest_for_named: bool,
}

impl Naming {
    /// The names that an entry of the index gives its image.
    pub(crate) fn names(&self, entry: &Descriptor) -> Vec<String> {
        let name = self.name(entry);
        let skip = self.skip_digest_for_named && name.is_some();
        let digest =
            (self.digests && !skip && !self.prefix.is_empty()).then(|| format!("{}@{}", self.prefix, entry.digest));
        name.into_iter().chain(digest).collect()
    }

    fn name(&self, entry: &Descriptor) -> Option<String> {
        let annotation = |key: &str| entry.annotations.get(key).filter(|value| !value.is_empty());
        if let Some(name) = annotation(ANNOTATION_NAME) {
            return Some(name.clone());
        }
        let name = annotation(ANNOTATION_REF)?;
        if name.contains(['/', ':', '@']) {
            return Some(name.clone()).filter(|name| !self.only_prefix || self.covers(name));
        }
        (!self.prefix.is_empty()).then(|| format!("{}:{name}", self.prefix))
    }

    /// Whether `name` is the prefix, or goes on from it at the end of a part.
    fn covers(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        let annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Descriptor { annotations, ..Descriptor::default() }
    }

    #[test]
    fn names_come_from_annotations() {
        let naming = |prefix: &str, only_prefix| Naming {
            prefix: prefix.into(),
            only_prefix,
            digests: false,
            skip_digest_for_named: false,
        };
        let (tag, full) =
            (entry(&[(ANNOTATION_REF, "v1")]), entry(&[(ANNOTATION_NAME, "reg/a:1"), (ANNOTATION_REF, "1")]));
        assert_eq!(naming("import-2026-11-24", false).names(&tag), ["import-2026-11-24:v1"]);
        assert_eq!(naming("import-2026-11-24", false).names(&full), ["reg/a:1"]);
        assert_eq!(naming("other", true).names(&full), ["reg/a:1"], "containerd's own annotation is the name");
        let full = entry(&[(ANNOTATION_REF, "reg/a:1")]);
        assert_eq!(naming("reg/a", true).names(&full), ["reg/a:1"]);
        assert!(naming("reg/ab", true).names(&full).is_empty());
        assert!(naming("re", true).names(&full).is_empty());
        assert!(naming("x", false).names(&entry(&[])).is_empty());
    }

    #[test]
    fn digest_names_are_added_on_request() {
        let naming = Naming { prefix: "x".into(), only_prefix: false, digests: true, skip_digest_for_named: true };
        let unnamed = entry(&[]);
        assert_eq!(naming.names(&unnamed), [format!("x@{}", unnamed.digest)]);
        assert_eq!(naming.names(&entry(&[(ANNOTATION_REF, "1")])), ["x:1"]);
    }
}
