//! Where cargo keeps the sources of the crates whose .proto files we read.

use std::{collections::HashMap, env, path::PathBuf, process::Command};

/// Source folders of this crate's dependencies, by package name.
pub(crate) struct Sources(HashMap<String, PathBuf>);

impl Sources {
    /// Asks cargo itself, so that vendoring and `--offline` work; falls back to online,
    /// which downloads crates that are locked but not yet fetched.
    pub(crate) fn locate() -> Self {
        let output =
            metadata(true).or_else(|_| metadata(false)).unwrap_or_else(|error| panic!("cargo metadata: {error}"));
        let metadata: serde_json::Value = serde_json::from_slice(&output).expect("cargo metadata is JSON");
        let folders = metadata["packages"].as_array().expect("packages").iter().map(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str().expect("manifest_path"));
            (package["name"].as_str().expect("name").to_owned(), manifest.parent().expect("folder").to_owned())
        });
        Self(folders.collect())
    }

    /// The folder of package `name`.
    pub(crate) fn of(&self, name: &str) -> PathBuf {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not among the dependencies")).clone()
    }
}

fn metadata(offline: bool) -> Result<Vec<u8>, String> {
    let mut command = Command::new(env::var_os("CARGO").expect("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked"]);
    if offline {
        command.arg("--offline");
    }
    let output = command
        .current_dir(env::var_os("CARGO_MANIFEST_DIR").expect("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
