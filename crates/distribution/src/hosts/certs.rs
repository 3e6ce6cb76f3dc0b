//! Docker's layout of certificates: `*.crt` are authorities, `*.cert` ours, `*.key` their keys.

use super::Tls;
use model::{Error, Result};
use std::{ffi::OsStr, fs, path::Path};

/// Adds the certificates in `dir` to `tls`, in the order of their names.
pub(super) fn add(dir: &Path, tls: &mut Tls) -> Result<()> {
    let read = |error| Error::io(format!("read {}", dir.display()), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        files.push(entry.map_err(read)?.path());
    }
    files.sort();
    for file in files {
        match file.extension().and_then(OsStr::to_str) {
            Some("crt") => tls.authorities.push(file),
            Some("cert") => {
                let key = file.with_extension("key");
                tls.client.push((file, key.exists().then_some(key)));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_certificates_with_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ca.crt", "a.cert", "a.key", "b.cert", "readme"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut tls = Tls::default();
        add(dir.path(), &mut tls).unwrap();
        assert_eq!(tls.authorities, [dir.path().join("ca.crt")]);
        assert_eq!(
            tls.client,
            [(dir.path().join("a.cert"), Some(dir.path().join("a.key"))), (dir.path().join("b.cert"), None)]
        );
    }
}
