//! `ctr content edit`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use client::{Chunks, Client, Expect, unique_part};
use model::{Digest, Error, Result};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of `ctr content edit`.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Validate the result against a format (not supported)
    #[arg(long, value_name = "FORMAT")]
    validate: Option<String>,
    /// Select editor (vim, emacs, etc.)
    #[arg(long, env = "EDITOR", value_name = "COMMAND")]
    editor: Option<String>,
    /// The blob
    digest: String,
}

impl Edit {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.validate.is_some() {
            return Err(Error::unimplemented("validating the edit result not supported").into());
        }
        let digest: Digest = self.digest.parse()?;
        let editor = self.editor.filter(|editor| !editor.is_empty());
        let editor = editor.ok_or_else(|| Error::invalid_argument("editor is required (--editor or EDITOR)"))?;
        let client = context.connect().await?;
        let file = Temporary::new()?;
        download(&client, &digest, &file.0).await?;
        let command = format!("{editor} {}", file.0.display());
        let status = Command::new("sh").arg("-c").arg(&command).status();
        let status = status.map_err(|error| Error::io(format!("run {command}"), error))?;
        if !status.success() {
            return Err(Error::aborted(format!("{command} failed: {status}")).into());
        }
        // Opened again: an editor may have put another file in its place.
        let edited = std::fs::File::open(&file.0).map_err(|error| Error::io("read the edited file", error))?;
        let source = Chunks::of_reader("the edited file", edited);
        let written = client.write_blob(&format!("edit-{digest}"), &Expect::default(), source).await?;
        line(written.digest.as_str())
    }
}

async fn download(client: &Client, digest: &Digest, path: &Path) -> Result<()> {
    let failed = |error| Error::io(format!("write {}", path.display()), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut blob = client.read_blob(digest).await?;
    while let Some(chunk) = blob.next().await? {
        file.write_all(&chunk).map_err(failed)?;
    }
    Ok(())
}

/// A path that nobody uses, emptied in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = std::path::absolute(folder).map_err(|error| Error::io("find a temporary folder", error))?;
        Ok(Self(folder.join(format!("edit-{}", unique_part()))))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}
