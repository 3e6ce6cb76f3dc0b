//! Unpacks layer blobs, one after the other, as overlay layers: `unpack DIRECTORY BLOB...`. For measuring.

use std::{env, error::Error, fs, io::Read, path::PathBuf, time::Instant};
use store::layers::{ApplyOptions, TAR_GZIP, apply};

struct Blob(fs::File);

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

#[allow(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let root = PathBuf::from(args.next().ok_or("usage: unpack DIRECTORY BLOB...")?);
    for (index, path) in args.enumerate() {
        let directory = root.join(index.to_string());
        fs::create_dir_all(&directory)?;
        let begun = Instant::now();
        let mount = model::Mount {
            fs_type: "bind".into(),
            source: directory.to_string_lossy().into_owned(),
            ..model::Mount::default()
        };
        let applied = apply(Blob(fs::File::open(&path)?), TAR_GZIP, &[mount], &ApplyOptions::default())?;
        println!("{} {} bytes in {:?}", applied.diff_id, applied.size, begun.elapsed());
    }
    Ok(())
}
