//! `ctr images inspect`: an image as a tree.

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, go_time, print, print_json, timestamp_nanos};
use clap::Args;
use client::oci::{Descriptor, Document as _, Index, Kind, Manifest};
use client::{Client, check_depth};
use model::{Error, Result};
use proto::api::containerd::services::images::v1::Image;
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

/// Flags of `ctr images inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Show JSON content
    #[arg(long)]
    content: bool,
    #[command(flatten)]
    output: Output,
    /// The image
    image: String,
}

impl Inspect {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let image = client.image(&self.image).await?;
        let target = client::target_of(&image)?;
        if self.output.is_json() {
            let mut document = json!({
                "name": image.name,
                "labels": image.labels,
                "createdAt": timestamp_nanos(image.created_at.as_ref()),
                "updatedAt": timestamp_nanos(image.updated_at.as_ref()),
                "target": target,
            });
            document["content"] = Box::pin(content_json(&client, &target, 0)).await?;
            return print_json(&document);
        }
        let mut tree = Tree { client: &client, content: self.content, text: String::new() };
        tree.image(&image);
        Box::pin(tree.blob(&target, "└── ", "    ", 0)).await?;
        print(&tree.text)
    }
}

/// The document a descriptor points to, with those below it in place of nothing.
async fn content_json(client: &Client, descriptor: &Descriptor, depth: usize) -> Result<Value> {
    check_depth(descriptor, depth)?;
    if Kind::of(&descriptor.media_type) == Kind::Layer {
        return Ok(Value::Null);
    }
    let mut document = match client.read_document::<Value>(descriptor).await {
        Err(error) if error.is_not_found() => return Ok(Value::Null),
        document => document?,
    };
    let children = match Kind::of(&descriptor.media_type) {
        Kind::Index => "manifests",
        Kind::Manifest => {
            let config: Descriptor = serde_json::from_value(document["config"].clone())
                .map_err(|error| Error::invalid_argument(format!("manifest {}", descriptor.digest)).caused_by(error))?;
            document["config"]["content"] = Box::pin(content_json(client, &config, depth + 1)).await?;
            return Ok(document);
        }
        _ => return Ok(document),
    };
    for child in document[children].as_array_mut().into_iter().flatten() {
        let listed: Descriptor = serde_json::from_value(child.clone())
            .map_err(|error| Error::invalid_argument(format!("index {}", descriptor.digest)).caused_by(error))?;
        child["content"] = Box::pin(content_json(client, &listed, depth + 1)).await?;
    }
    Ok(document)
}

/// The tree being drawn.
struct Tree<'a> {
    client: &'a Client,
    content: bool,
    text: String,
}

impl Tree<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn image(&mut self, image: &Image) {
        self.line(&image.name);
        self.line(&format!("│    Created: {}", go_time(image.created_at.as_ref())));
        self.line(&format!("│    Updated: {}", go_time(image.updated_at.as_ref())));
        let mut labels: Vec<_> = image.labels.iter().collect();
        labels.sort();
        labels.into_iter().for_each(|(key, value)| self.line(&format!("│    Label {key:?}: {value:?}")));
    }

    /// Draws what is below a descriptor. `first` begins its own line, `rest` those below it.
    async fn blob(&mut self, descriptor: &Descriptor, first: &str, rest: &str, depth: usize) -> Result<()> {
        check_depth(descriptor, depth)?;
        self.entry(first, descriptor);
        if let Some(platform) = descriptor.platform.as_ref().filter(|platform| !platform.architecture.is_empty()) {
            self.line(&format!("{rest}│    Platform: {}/{}", platform.os, platform.architecture));
        }
        let bytes = match self.client.read_small(descriptor).await {
            Err(error) if error.is_not_found() => {
                self.line(&format!("{rest}└──  Content does not exist locally, skipping"));
                return Ok(());
            }
            bytes => bytes?,
        };
        self.show(descriptor, &bytes, &format!("{rest}│   ")).await?;
        match Kind::of(&descriptor.media_type) {
            Kind::Manifest => self.manifest(&Manifest::parse(descriptor.digest.as_str(), &bytes)?, rest).await,
            Kind::Index => {
                let index = Index::parse(descriptor.digest.as_str(), &bytes)?;
                for (position, child) in index.manifests.iter().enumerate() {
                    let last = position + 1 == index.manifests.len();
                    let (branch, line) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
                    Box::pin(self.blob(child, &format!("{rest}{branch}"), &format!("{rest}{line}"), depth + 1)).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn manifest(&mut self, manifest: &Manifest, rest: &str) -> Result<()> {
        let last = manifest.layers.is_empty();
        let (branch, line) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        self.entry(&format!("{rest}{branch}"), &manifest.config);
        if self.content {
            let bytes = self.client.read_small(&manifest.config).await?;
            self.show(&manifest.config, &bytes, &format!("{rest}{line}")).await?;
        }
        for (position, layer) in manifest.layers.iter().enumerate() {
            let branch = if position + 1 == manifest.layers.len() { "└── " } else { "├── " };
            self.entry(&format!("{rest}{branch}"), layer);
        }
        Ok(())
    }

    fn entry(&mut self, prefix: &str, descriptor: &Descriptor) {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        self.line(&format!("{prefix}{media_type} @{digest} ({size} bytes)"));
    }

    /// Labels and text of a document, if asked for.
    async fn show(&mut self, descriptor: &Descriptor, bytes: &[u8], prefix: &str) -> Result<()> {
        if !self.content {
            return Ok(());
        }
        let info = self.client.blob_info(&descriptor.digest).await?;
        if !info.labels.is_empty() {
            self.line(&format!("{prefix}┌────────Labels─────────"));
            let mut labels: Vec<_> = info.labels.iter().collect();
            labels.sort();
            labels.into_iter().for_each(|(key, value)| self.line(&format!("{prefix}│{key:?}: {value:?}")));
            self.line(&format!("{prefix}└───────────────────────"));
        }
        if descriptor.media_type.ends_with("json") {
            let document = Value::parse(descriptor.digest.as_str(), bytes)?;
            self.line(&format!("{prefix}┌────────Content────────"));
            indented(&document)?.lines().for_each(|line| self.line(&format!("{prefix}│{line}")));
            self.line(&format!("{prefix}└───────────────────────"));
        }
        Ok(())
    }
}

/// A document with three spaces for each level.
fn indented(document: &Value) -> Result<String> {
    let mut text = Vec::new();
    let written = document.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"   ")));
    written.map_err(|error| Error::internal("write a document").caused_by(error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
