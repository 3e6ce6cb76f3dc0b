//! Archives in and out by the daemon itself: ctr as it is used without `--local`, on either daemon.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::bed::BUSYBOX;
use tests::image::{self, Blobs, descriptor, media};
use tests::layer::{Layer, gzip};
use tests::leaks::entries;
use tests::registry::{Registry, USER};
use tests::{Bed, Ctr, Impl, Proxy, eventually, matrix};

matrix! { storage:
    import_unpacks, compressed_archive_from_stdin, names, platforms, export_and_import_again, export_by_platform,
    tagging,
}
matrix! { wire:
    docker_archive, compressed_layers, tags_need_a_base, without_unpacking, no_such_snapshotter, other_tools,
    bad_archives, a_client_that_is_killed, a_pull_whose_client_is_killed, a_push_whose_client_is_killed, http_is_dumped,
}

fn write(bed: &Bed, name: &str, bytes: &[u8]) -> PathBuf {
    let path = bed.daemon.dir().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Imports by the daemon; what was told of it.
fn import(bed: &Bed, arguments: &str, archive: &[u8]) -> String {
    let path = write(bed, "in.tar", archive);
    let done = bed.ctr().run(&format!("images import {arguments} {}", path.display()));
    assert_eq!(done.code, 0, "{done:?}");
    done.stdout + &done.stderr
}

/// The archive of an export. Go's ctr does not wait for its own last write, so that Go's daemon may lose it.
pub(crate) fn export(bed: &Bed, flags: &str, images: &str) -> Vec<u8> {
    let path = bed.daemon.dir().join("out.tar");
    let mut bytes = Vec::new();
    eventually("the whole archive", || {
        bed.ctr().ok(&format!("images export {flags} {} {images}", path.display()));
        bytes = fs::read(&path).unwrap();
        bytes.len().is_multiple_of(512) && bytes.ends_with(&[0; 1024])
    });
    bytes
}

/// The files of an archive, by path.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(archive);
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.filter(|(path, _)| !path.ends_with('/') && !path.ends_with("sha256")).collect()
}

fn file<'a>(files: &'a [(String, Vec<u8>)], path: &str) -> Option<&'a [u8]> {
    files.iter().find(|(name, _)| name == path).map(|(_, bytes)| bytes.as_slice())
}

fn assert_nothing_is_left(ctr: &Ctr) {
    assert!(ctr.names("images ls").is_empty());
    assert!(ctr.names("leases ls").is_empty(), "a failed import keeps nothing alive");
    assert!(ctr.names("snapshots ls").is_empty());
}

fn import_unpacks(bed: &mut Bed) {
    let told = import(bed, "", &image::busybox(BUSYBOX).oci_archive());
    assert!(told.contains(BUSYBOX) && told.contains("saved"), "progress reaches the client: {told}");
    let ctr = bed.ctr();
    assert_eq!(ctr.names("images ls"), [BUSYBOX]);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
    let parts = image::busybox(BUSYBOX).blobs();
    let blobs = ctr.names("content ls");
    for part in parts.layers.iter().chain([&parts.config, &parts.manifest]) {
        assert!(blobs.contains(&image::digest(part)), "{blobs:?}");
    }
    let row = ctr.ok("images check").lines().nth(1).unwrap().to_owned();
    assert!(row.contains("complete (4/4)") && row.trim_end().ends_with("true"), "{row}");
    assert!(ctr.names("leases ls").is_empty());
    // What the garbage collector keeps is all of it.
    ctr.ok("leases create --id collect");
    ctr.ok("leases rm --sync collect");
    assert_eq!(ctr.names("snapshots ls").len(), 3);
    assert!(ctr.ok("images check").contains("complete (4/4)"));
}

fn docker_archive(bed: &mut Bed) {
    import(bed, "", &image::busybox("example.com/from/docker:2").docker_archive());
    let ctr = bed.ctr();
    assert_eq!(ctr.names("images ls"), ["example.com/from/docker:2"]);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

/// The manifest of the one image there is.
fn manifest(bed: &Bed) -> Value {
    let ctr = bed.ctr();
    let row = ctr.ok("images ls").lines().nth(1).unwrap().to_owned();
    let digest = row.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    serde_json::from_str(&ctr.ok(&format!("content get {digest}"))).unwrap()
}

fn compressed_layers(bed: &mut Bed) {
    import(bed, "--compress-blobs", &image::busybox("example.com/from/docker:2").docker_archive());
    let manifest = manifest(bed);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for (layer, tar) in layers.iter().zip(&image::busybox("x").layers) {
        assert_eq!(layer["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
        let listed = bed.ctr().ok(&format!("content ls digest=={}", layer["digest"].as_str().unwrap()));
        assert!(listed.contains(&format!("containerd.io/uncompressed={}", image::digest(tar))), "{listed}");
    }
    assert_eq!(bed.ctr().names("snapshots ls").len(), 3);
}

fn compressed_archive_from_stdin(bed: &mut Bed) {
    bed.ctr().feed("images import -", &gzip(&image::busybox(BUSYBOX).oci_archive()));
    assert_eq!(bed.ctr().names("images ls"), [BUSYBOX]);
}

fn names(bed: &mut Bed) {
    let archive = image::busybox(BUSYBOX).oci_archive();
    let digest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
    // The flag to leave out digests for named images means its opposite to Go's ctr.
    let (with, without) = match bed.row.ctr {
        Impl::Go => ("--digests --skip-digest-for-named", "--digests"),
        Impl::Ours => ("--digests", "--digests --skip-digest-for-named"),
    };
    import(bed, &format!("--index-name example.com/index:1 {without} --base-name example.com/test/busybox"), &archive);
    let ctr = bed.ctr();
    let by_digest = format!("example.com/test/busybox@{digest}");
    assert_eq!(ctr.names("images ls"), ["example.com/index:1", BUSYBOX]);
    let index = ctr.ok("images ls name==example.com/index:1");
    assert!(index.contains(media::INDEX), "{index}");
    import(bed, &format!("{with} --base-name example.com/test/busybox"), &archive);
    assert_eq!(ctr.names("images ls"), ["example.com/index:1", BUSYBOX, &by_digest]);
    ctr.ok(&format!("images rm example.com/index:1 {BUSYBOX} {by_digest}"));
    // Another base does not cover the name in the archive.
    import(bed, "--base-name example.com/other", &archive);
    assert!(ctr.names("images ls").is_empty());
    import(bed, "--base-name example.com/other --digests", &archive);
    assert_eq!(ctr.names("images ls"), [format!("example.com/other@{digest}")]);
}

/// An archive whose entries have the annotations.
fn annotated(blobs: &Blobs, annotations: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = descriptor(media::MANIFEST, &blobs.manifest);
    entry["annotations"] = annotations.iter().map(|&(key, value)| (key.to_owned(), json!(value))).collect();
    let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]);
    image::oci_archive(&[entry], all.map(Vec::as_slice))
}

fn tags_need_a_base(bed: &mut Bed) {
    let archive = annotated(&image::busybox(BUSYBOX).blobs(), &[("org.opencontainers.image.ref.name", "v7")]);
    import(bed, "--base-name example.com/base", &archive);
    import(bed, "", &archive);
    let names = bed.ctr().names("images ls");
    assert_eq!(names[0], "example.com/base:v7");
    assert!(names[1].starts_with("import-") && names[1].ends_with(":v7"), "{names:?}");
}

fn without_unpacking(bed: &mut Bed) {
    import(bed, "--no-unpack", &image::busybox(BUSYBOX).oci_archive());
    assert_eq!(bed.ctr().names("images ls"), [BUSYBOX]);
    assert!(bed.ctr().names("snapshots ls").is_empty());
}

fn no_such_snapshotter(bed: &mut Bed) {
    let path = write(bed, "in.tar", &image::busybox(BUSYBOX).oci_archive());
    let refused = bed.ctr().fails(&format!("images import --snapshotter nonesuch {}", path.display()));
    assert!(refused.contains("no unpack platforms defined"), "{refused}");
    assert!(refused.contains(bed.ours_names("nonesuch")), "{refused}");
    assert_nothing_is_left(&bed.ctr());
}

/// The index of an image for two platforms, and everything below it.
fn two_platforms() -> (Vec<u8>, Vec<Vec<u8>>, [String; 2]) {
    let (mut entries, mut all, mut manifests) = (Vec::new(), Vec::new(), Vec::new());
    for architecture in ["amd64", "arm64"] {
        let mut image = image::busybox(BUSYBOX);
        image.layers.truncate(2);
        image.config["Labels"] = json!({ "for": architecture });
        let blobs = image.blobs();
        let config = String::from_utf8(blobs.config).unwrap().replace("amd64\",\"c", &format!("{architecture}\",\"c"));
        let config = config.into_bytes();
        let mut manifest: Value = serde_json::from_slice(&blobs.manifest).unwrap();
        manifest["config"] = descriptor(media::CONFIG, &config);
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor(media::MANIFEST, &manifest);
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        entries.push(entry);
        manifests.push(image::digest(&manifest));
        all.extend(blobs.layers);
        all.extend([config, manifest]);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": entries });
    let index = index.to_string().into_bytes();
    all.push(index.clone());
    (index, all, manifests.try_into().unwrap())
}

fn two_platform_archive() -> (Vec<u8>, [String; 2]) {
    let (index, all, manifests) = two_platforms();
    let mut entry = descriptor(media::INDEX, &index);
    entry["annotations"] = json!({ "io.containerd.image.name": "example.com/two:1" });
    (image::oci_archive(&[entry], all.iter().map(Vec::as_slice)), manifests)
}

fn platforms(bed: &mut Bed) {
    let (archive, [amd64, arm64]) = two_platform_archive();
    import(bed, "", &archive);
    let ctr = bed.ctr();
    assert_eq!(ctr.names("images ls"), ["example.com/two:1"]);
    assert!(ctr.ok(&format!("content ls digest=={amd64}")).contains("gc.ref.content.config"));
    assert!(!ctr.ok(&format!("content ls digest=={arm64}")).contains("gc.ref.content.config"));
    import(bed, "--all-platforms", &archive);
    assert!(ctr.ok(&format!("content ls digest=={arm64}")).contains("gc.ref.content.config"));
}

fn export_and_import_again(bed: &mut Bed) {
    let name = bed.import();
    let archive = export(bed, "", name);
    let found = files(&archive);
    let blobs = image::busybox(BUSYBOX).blobs();
    for blob in blobs.layers.iter().chain([&blobs.config, &blobs.manifest]) {
        let path = format!("blobs/sha256/{}", &image::digest(blob)[7..]);
        assert!(file(&found, &path) == Some(blob), "{path} has the blob's bytes");
    }
    let docker: Value = serde_json::from_slice(file(&found, "manifest.json").unwrap()).unwrap();
    assert_eq!(docker[0]["RepoTags"], json!([name]));
    assert_eq!(docker[0]["Layers"].as_array().unwrap().len(), 3);
    let index: Value = serde_json::from_slice(file(&found, "index.json").unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], image::digest(&blobs.manifest));
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], name);
    assert!(file(&files(&export(bed, "--skip-manifest-json", name)), "manifest.json").is_none());

    let path = write(bed, "again.tar", &archive);
    let other = bed.ctr().in_namespace("other");
    other.ok(&format!("images import {}", path.display()));
    assert_eq!(other.names("images ls"), [name]);
    assert!(other.ok("images check").contains("complete (4/4)"));
    let target = bed.daemon.dir().join("absent.tar");
    let refused = bed.ctr().fails(&format!("images export {} example.com/absent:1", target.display()));
    assert!(refused.contains("example.com/absent:1"), "{refused}");
    if bed.row.ctr == Impl::Ours {
        assert!(!target.exists(), "half an archive is of no use");
        // What is no file of ours stays.
        let fifo = bed.daemon.dir().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _both_ends = fs::File::options().read(true).write(true).open(&fifo).unwrap();
        for local in ["", "--local"] {
            bed.ctr().fails(&format!("images export {local} {} example.com/absent:1", fifo.display()));
            assert!(fifo.exists());
        }
    }
}

fn export_by_platform(bed: &mut Bed) {
    let (archive, [amd64, arm64]) = two_platform_archive();
    import(bed, "--all-platforms", &archive);
    for (arguments, has_amd64, has_arm64) in
        [("", true, false), ("--platform linux/arm64", false, true), ("--all-platforms", true, true)]
    {
        let found = files(&export(bed, arguments, "example.com/two:1"));
        let has = |digest: &str| file(&found, &format!("blobs/sha256/{}", &digest[7..])).is_some();
        assert_eq!((has(&amd64), has(&arm64)), (has_amd64, has_arm64), "{arguments:?}");
    }
}

fn tagging(bed: &mut Bed) {
    let name = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("images tag {name} example.com/other:3"));
    assert_eq!(ctr.names("images ls"), ["example.com/other:3", name]);
    assert!(ctr.fails("images tag example.com/absent:1 example.com/x:1").contains("example.com/absent:1"));
}

/// skopeo reads what we export and writes what we import.
fn other_tools(bed: &mut Bed) {
    let name = bed.import();
    let manifest = image::busybox(BUSYBOX).blobs().manifest;
    let exported = write(bed, "exported.tar", &export(bed, "", name));
    let skopeo = |arguments: &[&str]| {
        let done = Command::new("skopeo").args(arguments).output().expect("the package skopeo");
        assert!(done.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let source = format!("oci-archive:{}", exported.display());
    assert_eq!(skopeo(&["inspect", "--raw", &source]), manifest, "every byte of the manifest");
    let copied = bed.daemon.dir().join("copied.tar");
    let target = format!("docker-archive:{}:example.com/by/skopeo:1", copied.display());
    skopeo(&["copy", "-q", &source, &target]);
    let ctr = bed.ctr().in_namespace("skopeo");
    ctr.ok(&format!("images import {}", copied.display()));
    assert_eq!(ctr.names("images ls"), ["example.com/by/skopeo:1"]);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

fn bad_archives(bed: &mut Bed) {
    let blobs = image::busybox(BUSYBOX).blobs();
    let whole = image::busybox(BUSYBOX).oci_archive();
    let layer = image::digest(&blobs.layers[0]);
    let named = |all: &[&[u8]]| {
        let mut entry = descriptor(media::MANIFEST, &blobs.manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": BUSYBOX });
        image::oci_archive(&[entry], all.iter().copied())
    };
    let without_layer = named(&[&blobs.layers[1], &blobs.layers[2], &blobs.config, &blobs.manifest]);
    let without_manifest = named(&[&blobs.layers[0], &blobs.config]);
    let wrong = whole.windows(64).position(|bytes| bytes == &layer.as_bytes()[7..]).unwrap();
    let mut other_bytes = whole.clone();
    // The tar's header has 512 bytes; then comes what is no longer the layer.
    other_bytes[wrong / 512 * 512 + 512 + 100] ^= 0xff;
    let manifest = image::digest(&blobs.manifest);
    let cases = [
        // First: bytes that the store has already from elsewhere are not asked for again.
        ("a layer's bytes are others", other_bytes, layer.as_str()),
        ("noise", b"this is not a tar at all".repeat(100), "archive"),
        ("nothing", Vec::new(), "archive"),
        ("no image", vec![0; 1024], "archive"),
        ("cut short", whole[..whole.len() / 2].to_vec(), "blobs/sha256/"),
        ("a layer is missing", without_layer, &layer),
        ("the manifest is missing", without_manifest, &manifest),
    ];
    for (index, (what, archive, object)) in cases.into_iter().enumerate() {
        let path = write(bed, "bad.tar", &archive);
        // What one failure has left for the collector would complete the next archive.
        let ctr = bed.ctr().in_namespace(&format!("bad-{index}"));
        let refused = ctr.fails(&format!("images import {}", path.display()));
        assert!(refused.contains(bed.ours_names(object)), "{what}: {refused}");
        assert_nothing_is_left(&ctr);
    }
}

fn a_client_that_is_killed(bed: &mut Bed) {
    let ctr = bed.ctr();
    let whole = image::busybox(BUSYBOX).oci_archive();
    let mut child = mortal(&ctr, "images import -").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&whole[..whole.len() / 2]).unwrap();
    eventually("a blob on its way", || !ctr.names("content active").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    if bed.row.daemon == Impl::Ours {
        // Half a blob of a stream is of no use to anybody. Go's daemon keeps it until the client's lease expires.
        eventually("what was begun to go", || ctr.names("content active").is_empty());
    }
    assert!(ctr.names("images ls").is_empty());
    // The daemon is none the worse for it.
    import(bed, "", &whole);
    assert_eq!(ctr.names("images ls"), [BUSYBOX]);
}

fn a_pull_whose_client_is_killed(bed: &mut Bed) {
    let (name, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let remote = registry.name("kill/me:1");
    ctr.ok(&format!("images push --plain-http {remote} {name}"));
    ctr.ok(&format!("images rm --sync {name}"));
    // Or they would be taken from there.
    let blobs = bed.daemon.root().join("io.containerd.content.v1.content/blobs/sha256");
    eventually("the blobs to be deleted", || entries(&blobs).is_empty());
    let (other, proxy) = (ctr.in_namespace("other"), Proxy::before(&registry));
    proxy.allow(STALL);
    let mut child = mortal(&other, &format!("images pull --plain-http {}", proxy.name("kill/me:1"))).spawn().unwrap();
    proxy.wait_for_held(1);
    eventually("a layer on its way", || other.ok("content active").contains("layer-sha256:"));
    let before = proxy.given_up();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the daemon to hang up", || proxy.given_up() > before);
    assert!(other.names("images ls").is_empty());
    if bed.row.daemon == Impl::Ours {
        eventually("half a layer to go", || other.names("snapshots ls").is_empty());
        assert!(other.ok("content active").contains("layer-sha256:"), "what was fetched stays");
    }
    other.ok(&format!("images pull --plain-http {remote}"));
    assert!(other.ok("images check").contains("complete (4/4)"));
    assert!(other.names("content active").is_empty());
    was_cancelled(bed);
}

fn a_push_whose_client_is_killed(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let mut image = image::busybox(BUSYBOX);
    for seed in 0..UPLOADS as u64 {
        let noise = crate::crash::noise(seed, 1 << 20);
        image.layers.push(Layer::new().file(&format!("noise{seed}"), 0o644, &noise).finish());
    }
    let archive = write(bed, "image.tar", &image.oci_archive());
    ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));
    let proxy = Proxy::before(&registry);
    proxy.allow(STALL);
    let push = format!("images push --plain-http {} {BUSYBOX}", proxy.name("kill/me:1"));
    let before = sockets(bed);
    let mut child = mortal(&ctr, &push).spawn().unwrap();
    proxy.wait_for_held(UPLOADS);
    assert!(sockets(bed) > before);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the daemon to hang up", || sockets(bed) <= before);
    // Others have their turns.
    ctr.ok(&format!("images push --plain-http {} {BUSYBOX}", registry.name("kill/me:1")));
    let blobs = image.blobs();
    assert!(blobs.layers.iter().chain([&blobs.config]).all(|blob| registry.has_blob(&image::digest(blob))));
    was_cancelled(bed);
}

/// Bytes of bodies after which a registry stalls: less than the largest layer has.
const STALL: u64 = 100_000;
/// Layers that are uploaded at a time.
const UPLOADS: usize = 3;

/// A ctr that dies at once when it is killed: [`Ctr::command`]'s is a child of timeout(1), and survives that.
fn mortal(ctr: &Ctr, line: &str) -> Command {
    let command = ctr.command(line);
    let mut words = command.get_args().skip(3);
    let mut mortal = Command::new(words.next().unwrap());
    mortal.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    mortal
}

/// How many sockets the daemon has.
fn sockets(bed: &Bed) -> usize {
    let files = entries(&PathBuf::from(format!("/proc/{}/fd", bed.daemon.pid())));
    let is_socket =
        |file: &PathBuf| fs::read_link(file).is_ok_and(|name| name.display().to_string().starts_with("socket:"));
    files.iter().filter(|file| is_socket(file)).count()
}

/// The daemon hung up because its client did, and not because the registry did nothing for long.
fn was_cancelled(bed: &Bed) {
    let log = bed.daemon.log();
    assert!(!log.contains("asking for the rest") && !log.contains("an upload broke"), "{log}");
}

fn http_is_dumped(bed: &mut Bed) {
    let (name, ctr, registry) = (bed.import(), bed.ctr(), Registry::guarded());
    let (remote, (user, password)) = (registry.name("a/b:1"), USER);
    ctr.ok(&format!("images push --plain-http -u {user}:{password} {remote} {name}"));
    let flags = format!("--plain-http --http-dump -u {user}:{password}");
    let done = ctr.run(&format!("images pull {flags} {remote}"));
    assert_eq!(done.code, 0, "{done:?}");
    let told = done.stdout + &done.stderr;
    if bed.row.daemon == Impl::Ours {
        assert!(told.contains("/v2/a/b/manifests/1") && told.contains("200 OK"), "{told}");
        assert!(!told.to_lowercase().contains("authorization: basic"), "{told}");
    }
}
