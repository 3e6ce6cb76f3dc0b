//! What labels mean to garbage collection (containerd's docs/garbage-collection.md).
//!
//! | label | on | means |
//! |---|---|---|
//! | `containerd.io/gc.root` | content, snapshot | kept for itself |
//! | `containerd.io/gc.ref.content[.x]` | any | keeps the content of this digest |
//! | `containerd.io/gc.ref.image[.x]` | any | keeps the image of this name |
//! | `containerd.io/gc.ref.snapshot.<snapshotter>[/x]` | any | keeps the snapshot of this key |
//! | `containerd.io/gc.bref.{container,content,image}[.x]`, `….snapshot.<snapshotter>[/x]` | any | kept by that object |
//! | `containerd.io/gc.expire` | lease, image | garbage from this time on (RFC 3339) |
//! | `containerd.io/gc.flat` | lease | holds its resources, not what they refer to |

use super::mark::{Node, NodeKind};
use model::Timestamp;

/// When a lease or an image is garbage.
pub(crate) const EXPIRE: &str = "containerd.io/gc.expire";

/// Marks a lease as flat.
pub(super) const FLAT: &str = "containerd.io/gc.flat";

const PREFIX: &str = "containerd.io/gc.";

/// What one label of an object says about others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The object refers to this one.
    Reference(Node),
    /// The object is kept by this one.
    BackReference(Node),
    /// The object is kept.
    Root,
}

/// What the label `key` = `value` of an object in `namespace` means, if anything.
pub(super) fn meaning(namespace: &str, key: &str, value: &str) -> Option<Meaning> {
    let name = key.strip_prefix(PREFIX)?;
    if name.starts_with("root") {
        return Some(Meaning::Root);
    }
    if let Some(what) = name.strip_prefix("ref.") {
        return target(namespace, what, value).filter(|node| node.kind != NodeKind::Container).map(Meaning::Reference);
    }
    target(namespace, name.strip_prefix("bref.")?, value).map(Meaning::BackReference)
}

fn target(namespace: &str, what: &str, value: &str) -> Option<Node> {
    for (word, kind) in [("content", NodeKind::Content), ("image", NodeKind::Image), ("container", NodeKind::Container)]
    {
        if let Some(rest) = what.strip_prefix(word)
            && (rest.is_empty() || rest.starts_with(['.', '/']))
        {
            return Some(Node::new(kind, namespace, value));
        }
    }
    let snapshotter = what.strip_prefix("snapshot.")?;
    let snapshotter = snapshotter.split_once('/').map_or(snapshotter, |(name, _)| name);
    Some(Node::snapshot(namespace, snapshotter, value))
}

/// Whether the expiry `value` is past at `now`. One that does not parse never is.
pub(super) fn is_expired(value: &str, now: Timestamp) -> bool {
    Timestamp::parse_rfc3339(value).is_some_and(|expiry| now > expiry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_refer_as_containerd_says() {
        let content = || Node::new(NodeKind::Content, "n", "v");
        let refers = |node| Some(Meaning::Reference(node));
        for (key, expected) in [
            ("containerd.io/gc.root", Some(Meaning::Root)),
            ("containerd.io/gc.ref.content", refers(content())),
            ("containerd.io/gc.ref.content.l.0", refers(content())),
            ("containerd.io/gc.ref.content/x", refers(content())),
            ("containerd.io/gc.ref.contents", None),
            ("containerd.io/gc.ref.image.x", refers(Node::new(NodeKind::Image, "n", "v"))),
            ("containerd.io/gc.ref.snapshot.overlayfs", refers(Node::snapshot("n", "overlayfs", "v"))),
            ("containerd.io/gc.ref.snapshot.overlayfs/2", refers(Node::snapshot("n", "overlayfs", "v"))),
            ("containerd.io/gc.ref.container", None),
            (
                "containerd.io/gc.bref.container.x",
                Some(Meaning::BackReference(Node::new(NodeKind::Container, "n", "v"))),
            ),
            (
                "containerd.io/gc.bref.snapshot.native/a",
                Some(Meaning::BackReference(Node::snapshot("n", "native", "v"))),
            ),
            ("containerd.io/gc.expire", None),
            ("containerd.io/uncompressed", None),
        ] {
            assert_eq!(meaning("n", key, "v"), expected, "{key}");
        }
    }

    #[test]
    fn only_a_time_that_parses_expires() {
        let now = Timestamp::parse_rfc3339("2026-01-02T00:00:00Z").unwrap();
        assert!(is_expired("2026-01-01T00:00:00Z", now));
        assert!(!is_expired("2026-01-03T00:00:00Z", now));
        assert!(!is_expired("yesterday", now));
    }
}
