//! Layers on the command line, for measuring and for comparing with other programs:
//!
//! ```text
//! layer unpack DIRECTORY BLOB...          unpacks each blob into a new directory below DIRECTORY
//! layer pack LOWER UPPER [MEDIA_TYPE]     writes the difference to stdout; LOWER may be ""
//! layer floor BLOB                        only inflates and hashes, on one thread
//! ```

#![allow(clippy::print_stderr, reason = "a program for a terminal")]

use model::Mount;
use std::{
    env,
    error::Error,
    fs,
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};
use store::{
    content::Hasher,
    layers::{ApplyOptions, DiffOptions, TAR, TAR_GZIP, apply_to_directory, diff},
};

fn bind(directory: &str) -> Vec<Mount> {
    if directory.is_empty() {
        return Vec::new();
    }
    vec![Mount { fs_type: "bind".into(), source: directory.into(), ..Mount::default() }]
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["unpack", root, ref blobs @ ..] => {
            for (index, blob) in blobs.iter().enumerate() {
                let directory = Path::new(root).join(index.to_string());
                fs::create_dir_all(&directory)?;
                let begun = Instant::now();
                let blob = fs::File::open(blob)?;
                let applied = apply_to_directory(blob, TAR_GZIP, &directory, &ApplyOptions::default())?;
                eprintln!("{} {} bytes in {:?}", applied.diff_id, applied.size, begun.elapsed());
            }
        }
        ["pack", lower, upper, ref media_type @ ..] => {
            let media_type = media_type.first().copied().unwrap_or(TAR);
            let written = diff(&bind(lower), &bind(upper), media_type, &DiffOptions::default(), io::stdout().lock())?;
            eprintln!("{written:?}");
        }
        ["floor", blob] => {
            let mut plain =
                flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 18, fs::File::open(blob)?));
            let mut buffer = vec![0; 1 << 18];
            let begun = Instant::now();
            let (mut hasher, mut size) = (Hasher::new(model::Algorithm::Sha256), 0);
            let mut hashing = Duration::ZERO;
            loop {
                let len = plain.read(&mut buffer)?;
                if len == 0 {
                    break;
                }
                let before = Instant::now();
                hasher.update(&buffer[..len]);
                hashing += before.elapsed();
                size += len;
            }
            let inflating = begun.elapsed() - hashing;
            eprintln!("{} {size} bytes: inflate {inflating:?}, sha256 {hashing:?}", hasher.digest()?);
        }
        _ => {
            return Err(
                "usage: layer unpack DIRECTORY BLOB... | layer pack LOWER UPPER [MEDIA_TYPE] | layer floor BLOB".into(),
            );
        }
    }
    Ok(())
}
