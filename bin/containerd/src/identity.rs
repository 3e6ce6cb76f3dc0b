//! The server's uuid: made once for a root, and kept where containerd keeps it.

use model::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

/// Where in the root it is.
const FOLDER: &str = "io.containerd.grpc.v1.introspection";

/// The uuid of `root`, made if there is none.
pub(crate) fn uuid(root: &Path) -> Result<String> {
    let folder = root.join(FOLDER);
    let path = folder.join("uuid");
    let failed = |what: &str, error| Error::io(format!("{what} {}", path.display()), error);
    match fs::read_to_string(&path) {
        Ok(text) if is_uuid(text.trim()) => return Ok(text.trim().to_owned()),
        // Empty after a power cut in the middle of its writing.
        Ok(text) if text.is_empty() => {}
        Ok(text) => return Err(Error::data_loss(format!("{}: {text:?} is no uuid", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", error)),
    }
    let made = random().map_err(|error| Error::io("read random bytes", error))?;
    crate::directories::create(&folder, 0o700)?;
    let partial = folder.join(".uuid");
    let mut file = File::create(&partial).map_err(|error| failed("write", error))?;
    file.write_all(made.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed("write", error))?;
    fs::rename(&partial, &path).map_err(|error| failed("write", error))?;
    Ok(made)
}

/// A random uuid (RFC 9562, version 4).
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_keeps_its_uuid() {
        let root = tempfile::tempdir().unwrap();
        let first = uuid(root.path()).unwrap();
        assert!(is_uuid(&first) && first.as_bytes()[14] == b'4', "{first}");
        assert_eq!(uuid(root.path()).unwrap(), first);
        let path = root.path().join(FOLDER).join("uuid");
        fs::write(&path, "").unwrap();
        assert_ne!(uuid(root.path()).unwrap(), first);
        fs::write(&path, "nonsense").unwrap();
        assert!(uuid(root.path()).unwrap_err().to_string().contains("nonsense"));
    }
}
