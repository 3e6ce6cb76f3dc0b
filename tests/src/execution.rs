//! The execution tests of the black-box binary, run once more where it cannot go by itself: with another runtime in
//! runc's place, and in a virtual machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::programs::{profile_dir, workspace_dir};

/// Modules whose tests start containers, a few each, and need no registry and no third-party client.
const MODULES: &[&str] = &["checkpoint", "events", "restart", "restart_monitor", "tasks", "tasks_exec", "tasks_unruly"];

/// One test of each kind, where there is no time for more.
const FEW: &[&str] = &[
    "events::life_of_a_container::ours",
    "restart::killed_daemon::ours",
    "tasks::attached::ours",
    "tasks::paused_and_resumed::ours",
    "tasks_exec::exec::ours",
    "tasks_unruly::fork_bomb::ours",
];

/// How many of the tests, by the rows of their matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A few of ours.
    Few,
    /// Our daemon and shim, by Go's ctr where a test has that row.
    Ours,
    /// Every combination with a program of ours in it, and Go's alone.
    All,
}

impl Extent {
    /// What `$CONTAINERD_EXECUTION` asks for: `ours` or `all`; else `usual`.
    ///
    /// # Panics
    /// For any other value.
    #[must_use]
    pub fn wanted(usual: Self) -> Self {
        match std::env::var("CONTAINERD_EXECUTION").as_deref() {
            Err(_) => usual,
            Ok("ours") => Self::Ours,
            Ok("all") => Self::All,
            Ok(other) => panic!("CONTAINERD_EXECUTION={other}: neither ours nor all"),
        }
    }
}

/// The compiled black-box tests.
///
/// # Panics
/// When they are not built, or older than their source: cargo builds them with `cargo test -p tests`, not with
/// `--test` and another name.
#[must_use]
pub fn binary() -> PathBuf {
    let deps = profile_dir().join("deps");
    let is_binary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("blackbox-") && path.extension().is_none()
    };
    let found = crate::leaks::entries(&deps).into_iter().filter(is_binary).max_by_key(|path| modified(path));
    let found = found.unwrap_or_else(|| panic!("no black-box tests in {}: build them", deps.display()));
    for sources in ["tests/src", "tests/tests/blackbox"] {
        let newest =
            crate::leaks::entries(&workspace_dir().join(sources)).into_iter().max_by_key(|path| modified(path));
        let newest = newest.expect("sources of tests");
        assert!(modified(&newest) <= modified(&found), "{} is older than {}", found.display(), newest.display());
    }
    found
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).expect("when a file was written")
}

/// The names of the execution tests in `binary`.
#[must_use]
pub fn names(binary: &Path, extent: Extent) -> Vec<String> {
    let listing = Command::new(binary).args(["--list", "--format", "terse"]).output().expect("list the tests");
    let names: Vec<String> = String::from_utf8_lossy(&listing.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| name.split_once("::").is_some_and(|(module, _)| MODULES.contains(&module)))
        .map(str::to_owned)
        .collect();
    match extent {
        Extent::All => names,
        Extent::Ours => only_ours(&names),
        Extent::Few => {
            let missing = FEW.iter().find(|few| !names.iter().any(|name| name == *few));
            assert!(missing.is_none(), "{missing:?} is not among {names:?}");
            FEW.iter().map(|name| (*name).to_owned()).collect()
        }
    }
}

/// Of each test the row `ours`, else `our_ctr`, or the test itself where it has no rows.
fn only_ours(names: &[String]) -> Vec<String> {
    let has = |name: String| names.contains(&name);
    let wanted = |name: &&String| {
        let (test, row) = name.rsplit_once("::").unwrap_or_default();
        match row {
            "our_ctr" => !has(format!("{test}::ours")),
            "all_go" | "our_daemon_go_shim" | "go_daemon_our_shim" | "go_daemon_our_ctr" => false,
            _ => true,
        }
    };
    names.iter().filter(wanted).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::only_ours;

    #[test]
    fn one_row_of_each_test_is_ours() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all =
            ["a::b::all_go", "a::b::our_ctr", "a::b::ours", "c::d::our_ctr", "c::d::go_daemon_our_ctr", "s::whole"];
        assert_eq!(only_ours(&names(&all)), names(&["a::b::ours", "c::d::our_ctr", "s::whole"]));
    }
}
