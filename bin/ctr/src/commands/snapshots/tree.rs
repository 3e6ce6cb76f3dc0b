//! `ctr snapshots tree`

use super::Target;
use crate::failure::Outcome;
use crate::output::print;
use clap::Args;
use std::collections::{BTreeMap, HashSet};

/// Flags of `ctr snapshots tree`.
#[derive(Debug, Args)]
pub(crate) struct Tree {}

impl Tree {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let snapshots = target.list().await?;
        let names: HashSet<&str> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
        let mut children = BTreeMap::<&str, Vec<&str>>::new();
        for snapshot in &snapshots {
            // A parent that was removed meanwhile is no reason to hide its children.
            let parent = Some(snapshot.parent.as_str()).filter(|parent| names.contains(parent));
            children.entry(parent.unwrap_or_default()).or_default().push(&snapshot.name);
        }
        print(&draw(&children))
    }
}

/// Draws everything below the root, which is named by nothing. Not recursive: chains have hundreds of snapshots.
fn draw(children: &BTreeMap<&str, Vec<&str>>) -> String {
    let below =
        |name: &str, level: usize| children.get(name).into_iter().flatten().rev().map(move |&child| (child, level));
    let mut pending: Vec<(&str, usize)> = below("", 0).collect();
    let mut text = String::new();
    while let Some((name, level)) = pending.pop() {
        let branch = if level > 0 { "\\_" } else { "" };
        text.push_str(&format!("{}{branch} {name}\n", "  ".repeat(level)));
        pending.extend(below(name, level + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_below_their_parents() {
        let children = BTreeMap::from([("", vec!["a", "c"]), ("a", vec!["b"])]);
        assert_eq!(draw(&children), " a\n  \\_ b\n c\n");
    }
}
