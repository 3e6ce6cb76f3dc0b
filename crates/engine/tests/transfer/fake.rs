//! A registry of the tests that serves images from memory, and misbehaves as told.

use crate::{
    image::{CONFIG, Image, LAYER, MANIFEST},
    registry::{Server, reply},
};
use model::Digest;
use std::{collections::HashMap, sync::Arc};

/// A request as the registry sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Below `/v2/<name>/`.
    pub what: String,
    /// First byte, and the last if given.
    pub range: Option<(usize, Option<usize>)>,
}

/// What is done with a request instead of answering it well.
pub type Twist = dyn Fn(&Asked, &[u8]) -> Option<Vec<u8>> + Send + Sync;

pub struct Fake {
    server: Server,
}

impl Fake {
    /// Serves `images` by their tags in any repository.
    pub fn start(
        images: &[(&str, &Image)],
        twist: impl Fn(&Asked, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::serving(content_of(images), Arc::new(twist))
    }

    /// Serves `images` and further documents, each by tag and digest.
    pub fn with(images: &[(&str, &Image)], documents: &[(&str, &'static str, &[u8])]) -> Self {
        let mut content = content_of(images);
        for (tag, media_type, bytes) in documents {
            for name in [(*tag).to_owned(), crate::image::digest(bytes).to_string()] {
                content.insert(format!("manifests/{name}"), (*media_type, bytes.to_vec()));
            }
        }
        Self::serving(content, Arc::new(|_: &Asked, _: &[u8]| None))
    }

    /// Serves `content` by its path below `/v2/<name>/`.
    pub fn serving(content: HashMap<String, (&'static str, Vec<u8>)>, twist: Arc<Twist>) -> Self {
        Self { server: Server::start(move |head, _| answer(&Asked::parse(head), &content, &*twist)) }
    }

    pub fn address(&self) -> &str {
        &self.server.address
    }

    pub fn reference(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.server.address)
    }

    /// How often the blob was asked for.
    pub fn gets(&self, digest: &Digest) -> usize {
        let path = format!("blobs/{digest}");
        self.asked().iter().filter(|asked| asked.method == "GET" && asked.what == path).count()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.server.heads.lock().unwrap().iter().map(|head| Asked::parse(head)).collect()
    }
}

impl Asked {
    pub fn parse(head: &str) -> Self {
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let what = path.split('?').next().unwrap_or_default().trim_start_matches("/v2/");
        let what = what.split_once('/').map_or("", |(_, what)| what);
        let range = head.lines().find_map(|line| {
            let value = line.to_ascii_lowercase().strip_prefix("range: bytes=")?.to_owned();
            let (from, to) = value.split_once('-')?;
            Some((from.parse().ok()?, to.trim().parse().ok()))
        });
        Self { method: method.to_owned(), what: what.to_owned(), range }
    }
}

/// Everything of `images` by its path.
pub fn content_of(images: &[(&str, &Image)]) -> HashMap<String, (&'static str, Vec<u8>)> {
    let mut content = HashMap::new();
    for (tag, image) in images {
        for name in [(*tag).to_owned(), image.digest().to_string()] {
            content.insert(format!("manifests/{name}"), (MANIFEST, image.manifest.clone()));
        }
        content.insert(format!("blobs/{}", image.config_digest()), (CONFIG, image.config.clone()));
        for layer in &image.layers {
            content.insert(format!("blobs/{}", layer.digest()), (LAYER, layer.blob.clone()));
        }
    }
    content
}

pub fn answer(asked: &Asked, content: &HashMap<String, (&'static str, Vec<u8>)>, twist: &Twist) -> Vec<u8> {
    let Some((media_type, bytes)) = content.get(&asked.what) else {
        return twist(asked, &[]).unwrap_or_else(|| reply("404 Not Found", &[], b""));
    };
    if let Some(twisted) = twist(asked, bytes) {
        return twisted;
    }
    well(asked, media_type, bytes)
}

/// The right answer.
pub fn well(asked: &Asked, media_type: &str, bytes: &[u8]) -> Vec<u8> {
    let digest = crate::image::digest(bytes).to_string();
    let headers = [("content-type", media_type), ("docker-content-digest", digest.as_str())];
    if asked.method == "HEAD" {
        let whole = reply("200 OK", &headers, bytes);
        return whole[..whole.len() - bytes.len()].to_vec();
    }
    match asked.range {
        Some((from, to)) => {
            let end = to.map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
            let range = format!("bytes {from}-{}/{}", end - 1, bytes.len());
            reply("206 Partial Content", &[headers[0], ("content-range", &range)], &bytes[from..end])
        }
        None => reply("200 OK", &headers, bytes),
    }
}
