//! Small images as OCI and docker archives, written by hand so that tests can also write bad ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use crate::layer::{Layer, gzip};

/// `sha256:<hex>` of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// OCI media types.
pub mod media {
    /// Index of manifests.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Manifest of one image.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// Configuration of one image.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Layer, compressed with gzip.
    pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
}

/// A descriptor of bytes.
#[must_use]
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// One image: its name and layers, plain tars from the lowest up.
#[derive(Clone, Debug)]
pub struct Image {
    /// Full name with a tag.
    pub name: String,
    /// Uncompressed layers.
    pub layers: Vec<Vec<u8>>,
    /// `config` of the image configuration: Env, Cmd and so on.
    pub config: Value,
}

/// The blobs of an image as they lie in an archive or a content store.
#[derive(Clone, Debug)]
pub struct Blobs {
    /// Compressed layers.
    pub layers: Vec<Vec<u8>>,
    /// Configuration.
    pub config: Vec<u8>,
    /// Manifest.
    pub manifest: Vec<u8>,
}

impl Image {
    /// Compresses the layers and writes configuration and manifest.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        let layers: Vec<Vec<u8>> = self.layers.iter().map(|tar| gzip(tar)).collect();
        let diff_ids: Vec<String> = self.layers.iter().map(|tar| digest(tar)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST, "config": descriptor(media::CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(media::GZIP, layer)).collect::<Vec<_>>(),
        });
        Blobs { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// The image as a tar of an OCI layout.
    #[must_use]
    pub fn oci_archive(&self) -> Vec<u8> {
        let blobs = self.blobs();
        let mut manifest = descriptor(media::MANIFEST, &blobs.manifest);
        manifest["annotations"] = json!({ "io.containerd.image.name": self.name });
        let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]);
        oci_archive(&[manifest], all.map(Vec::as_slice))
    }

    /// The image as `docker save` writes it.
    #[must_use]
    pub fn docker_archive(&self) -> Vec<u8> {
        let blobs = self.blobs();
        let config = format!("{}.json", &digest(&blobs.config)[7..]);
        let names: Vec<String> = self.layers.iter().map(|tar| format!("{}/layer.tar", &digest(tar)[7..])).collect();
        let manifest = json!([{ "Config": config, "RepoTags": [self.name], "Layers": names }]).to_string();
        let mut files: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(self.layers.iter().map(Vec::as_slice)).collect();
        files.push((&config, &blobs.config));
        files.push(("manifest.json", manifest.as_bytes()));
        archive(&files)
    }
}

/// A tar of an OCI layout from index entries and blobs.
#[must_use]
pub fn oci_archive<'a>(manifests: &[Value], blobs: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests }).to_string();
    let blobs: Vec<(String, &[u8])> =
        blobs.map(|blob| (format!("blobs/sha256/{}", &digest(blob)[7..]), blob)).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)];
    files.extend(blobs.iter().map(|(name, blob)| (name.as_str(), *blob)));
    files.push(("index.json", index.as_bytes()));
    archive(&files)
}

/// The name in [`for_platforms`].
pub const MANY: &str = "example.com/many/platforms:1";

/// What a descriptor and a configuration say of an image for a variant of an architecture.
#[must_use]
pub fn linux(architecture: &str, variant: &str) -> Value {
    json!({ "os": "linux", "architecture": architecture, "variant": variant })
}

/// An archive of [`MANY`], an index of one image for each of these platforms. Of each, the digests of its manifest and
/// its layer.
#[must_use]
pub fn for_platforms(platforms: &[Value]) -> (Vec<u8>, Vec<[String; 2]>) {
    let (mut manifests, mut digests) = (Vec::new(), Vec::new());
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    for platform in platforms {
        let layer = Layer::new().file("motd", 0o644, platform.to_string().as_bytes()).finish();
        let mut image = Image { name: String::new(), layers: vec![layer], config: json!({}) }.blobs();
        let mut config: Value = serde_json::from_slice(&image.config).expect("JSON");
        config.as_object_mut().expect("an object").extend(platform.as_object().expect("an object").clone());
        image.config = config.to_string().into_bytes();
        let mut manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
        manifest["config"] = descriptor(media::CONFIG, &image.config);
        image.manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor(media::MANIFEST, &image.manifest);
        entry["platform"] = platform.clone();
        manifests.push(entry);
        digests.push([digest(&image.manifest), digest(&image.layers[0])]);
        blobs.extend(image.layers.into_iter().chain([image.config, image.manifest]));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests }).to_string();
    let mut entry = descriptor(media::INDEX, index.as_bytes());
    entry["annotations"] = json!({ "io.containerd.image.name": MANY });
    blobs.push(index.into_bytes());
    (oci_archive(&[entry], blobs.iter().map(Vec::as_slice)), digests)
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("write a tar in memory");
    }
    tar.into_inner().expect("write a tar in memory")
}

/// A busybox system in three layers; the last removes `/gone` and changes `/etc/motd` of the first.
#[must_use]
pub fn busybox(name: &str) -> Image {
    const APPLETS: &[&str] = &[
        "cat", "echo", "env", "false", "head", "id", "kill", "ls", "sh", "sleep", "stat", "touch", "tr", "true", "tty",
        "wc",
    ];
    let program = fs::read("/bin/busybox").expect("the package busybox-static");
    let base = ["bin", "dev", "etc", "proc", "sys", "tmp"].iter().fold(Layer::new(), |layer, dir| layer.dir(dir));
    let base = APPLETS.iter().fold(base.file("bin/busybox", 0o755, &program), |layer, applet| {
        layer.symlink(&format!("bin/{applet}"), "busybox")
    });
    let base = base.file("etc/motd", 0o644, b"first\n").file("gone", 0o644, b"soon gone\n");
    let users = Layer::new().dir("etc").file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\nwww:x:33:33::/:/bin/sh\n");
    let last = Layer::new().whiteout("./gone").file("etc/motd", 0o644, b"last\n");
    Image {
        name: name.to_owned(),
        layers: vec![base.finish(), users.finish(), last.finish()],
        config: json!({ "Env": ["PATH=/bin", "FROM=image"], "Cmd": ["/bin/sh"] }),
    }
}

/// The path of an archive of [`busybox`], written once per test process.
pub fn busybox_archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let dir = crate::programs::target_dir().join("test-images");
        fs::create_dir_all(&dir).expect("make a directory for images");
        let (path, new) = (dir.join("busybox.tar"), dir.join(format!("busybox.{}", std::process::id())));
        // Test processes run side by side: each writes its own and the last rename wins, all being equal.
        fs::write(&new, busybox(crate::bed::BUSYBOX).oci_archive()).expect("write the image");
        fs::rename(&new, &path).expect("put the image in place");
        path
    })
}
