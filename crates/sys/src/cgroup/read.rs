//! The small text files of a control group.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The number in `file`; `max` is the largest one. `None` when the file is absent, as it
/// is for a controller that is not enabled.
pub fn value(directory: &Path, file: &str) -> Option<u64> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    parse(text.trim())
}

/// The lines `key number` of `file`; empty when the file is absent.
pub fn keyed(directory: &Path, file: &str) -> HashMap<String, u64> {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (key, number) = line.split_once(' ')?;
            Some((key.to_owned(), parse(number.trim())?))
        })
        .collect()
}

fn parse(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        // A v1 counter may be momentarily negative.
        _ if text.starts_with('-') => Some(0),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_limits_and_absent_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pids.max"), "max\n").unwrap();
        fs::write(dir.path().join("memory.stat"), "anon 4096\nodd\nfile x\nneg -1\n").unwrap();
        assert_eq!(value(dir.path(), "pids.max"), Some(u64::MAX));
        assert_eq!(value(dir.path(), "pids.current"), None);
        let stat = keyed(dir.path(), "memory.stat");
        assert_eq!((stat.len(), stat["anon"], stat["neg"]), (2, 4096, 0));
    }
}
