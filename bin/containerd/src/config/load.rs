//! Reads a configuration file and what it imports, and merges them.

use super::{Loaded, Warning, check, migrate};
use model::{Error, Result};
use std::{
    collections::{HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Most files one configuration may consist of.
const MAX_FILES: usize = 1024;

/// Loads `path` and its imports over `known`'s defaults. `None`, or a default file that
/// does not exist, is an empty one.
pub(super) fn load(path: Option<&Path>, default_imports: &[String], known: &Table) -> Result<Loaded> {
    let mut loaded = Loaded { config: super::defaults(known), version: 3, warnings: Vec::new() };
    let mut seen = HashSet::new();
    let mut pending: VecDeque<PathBuf> = path.map(Path::to_owned).into_iter().collect();
    if path.is_none() {
        pending.extend(resolve_imports(Path::new("/"), default_imports)?);
    }
    let mut is_main = path.is_some();
    while let Some(file) = pending.pop_front() {
        if !seen.insert(file.clone()) {
            continue; // a cycle
        }
        if seen.len() > MAX_FILES {
            return Err(Error::invalid_argument(format!("{}: more than {MAX_FILES} files imported", file.display())));
        }
        let mut config = read(&file, known, &mut loaded.warnings)?;
        let version = migrate::version(&config).map_err(|error| error.context(file.display().to_string()))?;
        if is_main {
            loaded.version = version.max(3);
        }
        migrate::migrate(&mut config, version);
        check_plugin_names(&file, &config)?;
        let mut imports = strings(config.get("imports"));
        if is_main && !config.contains_key("imports") {
            imports = default_imports.to_vec();
        }
        pending.extend(resolve_imports(&file, &imports)?);
        merge(&mut loaded.config, config);
        is_main = false;
    }
    Ok(loaded)
}

fn read(file: &Path, known: &Table, warnings: &mut Vec<Warning>) -> Result<Table> {
    let text = fs::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Error::invalid_argument(format!("{}: not UTF-8", file.display())),
        _ => Error::io(format!("read configuration {}", file.display()), error),
    })?;
    check::parse(file, &text, known, warnings)
}

fn check_plugin_names(file: &Path, config: &Table) -> Result<()> {
    for list in ["disabled_plugins", "required_plugins"] {
        for name in strings(config.get(list)) {
            if !name.contains('.') {
                let file = file.display();
                return Err(Error::invalid_argument(format!(
                    "{file}: {list}: invalid plugin URI {name:?} expect io.containerd.x.vx"
                )));
            }
        }
    }
    Ok(())
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let array = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    array.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Paths of `imports`, relative to the folder of `parent`, with `*` and `?` in the last
/// part expanded in order of name.
fn resolve_imports(parent: &Path, imports: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for import in imports {
        // `..` and `.` are resolved as text, so that a cycle is seen whatever its spelling.
        let path = clean(&parent.parent().unwrap_or(Path::new("/")).join(import));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("/"));
        if folder.to_string_lossy().contains(['*', '?']) {
            return Err(Error::invalid_argument(format!(
                "import {import:?}: wildcards are supported in the last part only"
            )));
        }
        if !name.contains(['*', '?']) {
            paths.push(path);
            continue;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("import {import:?}: read {}", folder.display()), error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut matching: Vec<_> = names.filter(|candidate| matches(name.as_bytes(), candidate.as_bytes())).collect();
        matching.sort();
        paths.extend(matching.into_iter().map(|name| folder.join(name)));
    }
    Ok(paths)
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                cleaned.pop();
            }
            std::path::Component::CurDir => {}
            part => cleaned.push(part),
        }
    }
    cleaned
}

/// Whether `name` matches a pattern of `*` and `?`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((byte, rest)) => name.first() == Some(byte) && matches(rest, &name[1..]),
    }
}

/// Merges a file over what is there: at the top, zero values leave what is there and
/// lists are joined; named entries replace; plugins' tables merge at every depth.
fn merge(to: &mut Table, from: Table) {
    for (key, value) in from {
        match (key.as_str(), to.get_mut(&key), value) {
            ("plugins", Some(Value::Table(to)), Value::Table(from)) => merge_deep(to, from),
            ("timeouts" | "proxy_plugins" | "stream_processors", Some(Value::Table(to)), Value::Table(from)) => {
                to.extend(from);
            }
            (_, Some(Value::Table(to)), Value::Table(from)) => merge(to, from),
            (_, Some(Value::Array(to)), Value::Array(from)) => {
                for value in from {
                    if !to.contains(&value) {
                        to.push(value);
                    }
                }
            }
            (_, Some(_), value) if migrate::is_zero(&value) => {}
            (_, _, value) => {
                to.insert(key, value);
            }
        }
    }
}

fn merge_deep(to: &mut Table, from: Table) {
    for (key, value) in from {
        match (to.get_mut(&key), value) {
            (Some(Value::Table(to)), Value::Table(from)) => merge_deep(to, from),
            (_, value) => {
                to.insert(key, value);
            }
        }
    }
}
