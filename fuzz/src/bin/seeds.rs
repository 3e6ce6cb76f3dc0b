//! `seeds DIRECTORY` writes each target's seeds to a directory of its name, where cargo-fuzz looks for a corpus.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = PathBuf::from(env::args_os().nth(1).ok_or("usage: seeds DIRECTORY")?);
    for target in fuzz::TARGETS {
        let directory = corpus.join(target.name);
        fs::create_dir_all(&directory)?;
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(directory.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
