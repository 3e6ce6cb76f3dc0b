//! A shim's log: a fifo in the bundle, read into ours line by line.

use model::{Error, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{io, path::Path};
use tokio::{net::unix::pipe, task::AbortHandle};

/// Longest line kept; what is longer is cut into several.
const MAX_LINE: usize = 8 << 10;

/// Makes the fifo at `path` if it is not there, and copies what is written to it until the handle
/// is aborted. We hold both of its ends, so a shim never waits for a reader, and may come and go.
pub(crate) fn follow(path: &Path, namespace: &str, id: &str) -> Result<AbortHandle> {
    let mut reader = Reader { pipe: open(path)?, line: Vec::new(), namespace: namespace.into(), id: id.into() };
    Ok(tokio::spawn(async move {
        while reader.pipe.readable().await.is_ok() {
            if let Err(error) = reader.drain() {
                tracing::warn!(namespace = reader.namespace, id = reader.id, %error, "shim log cannot be read");
                return;
            }
        }
    })
    .abort_handle())
}

fn open(path: &Path) -> Result<pipe::Receiver> {
    let failed = |error| Error::io(format!("open shim log pipe {}", path.display()), error);
    match mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o700), 0) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(failed(error.into())),
        _ => {}
    }
    pipe::OpenOptions::new().read_write(true).open_receiver(path).map_err(failed)
}

/// Keeps no buffer while the shim is silent.
struct Reader {
    pipe: pipe::Receiver,
    /// An unfinished line.
    line: Vec<u8>,
    namespace: Box<str>,
    id: Box<str>,
}

impl Reader {
    /// Takes what is in the pipe now, or as much as a pipe holds: others want to run too.
    fn drain(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        for _ in 0..16 {
            match self.pipe.try_read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => split(&chunk[..read], &mut self.line, &mut |line| {
                    tracing::info!(namespace = self.namespace, id = self.id, "shim: {line}");
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The shim's last words, written just before it ended.
        let _unreadable = self.drain();
        if !self.line.is_empty() {
            split(b"\n", &mut self.line, &mut |line| {
                tracing::info!(namespace = self.namespace, id = self.id, "shim: {line}");
            });
        }
    }
}

fn split(chunk: &[u8], line: &mut Vec<u8>, emit: &mut impl FnMut(&str)) {
    for part in chunk.split_inclusive(|&byte| byte == b'\n') {
        let ended = part.last() == Some(&b'\n');
        line.extend_from_slice(part);
        if ended || line.len() >= MAX_LINE {
            let text = String::from_utf8_lossy(line);
            if !text.trim_ascii_end().is_empty() {
                emit(text.trim_ascii_end());
            }
            *line = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_whole_and_endless_ones_in_pieces() {
        let (mut line, mut seen) = (Vec::new(), Vec::new());
        for part in ["half", " line\nsecond\n\n", &"x".repeat(20_000), "\nend"] {
            for chunk in part.as_bytes().chunks(4096) {
                split(chunk, &mut line, &mut |line| seen.push(line.len()));
            }
        }
        assert_eq!(seen[..2], ["half line".len(), "second".len()]);
        assert_eq!(seen[2..].iter().sum::<usize>(), 20_000);
        assert!(seen[2..].iter().all(|&length| length < 2 * MAX_LINE));
        assert_eq!(line, b"end");
    }

    #[tokio::test]
    async fn the_fifo_never_blocks_a_writer_and_outlives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let pipe = open(&path).unwrap();
        let mut reader = Reader { pipe, line: Vec::new(), namespace: "n".into(), id: "i".into() };
        for _ in 0..2 {
            std::fs::write(&path, "unfinished ").unwrap();
            reader.pipe.readable().await.unwrap();
            reader.drain().unwrap();
        }
        assert_eq!(reader.line, b"unfinished unfinished ");
        assert!(open(&path).is_ok(), "an existing fifo is opened again after a restart");
    }
}
