//! Images between a daemon and a registry, through ctr: by the Transfer service, and by ctr itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::bed::BUSYBOX;
use tests::content::{stat, write};
use tests::image::{self, Image, media};
use tests::registry::{Tls, USER};
use tests::{Bed, Ctr, Daemon, Impl, Proxy, Registry, matrix};

matrix! { storage:
    push_and_pull, push_and_pull_by_ctr_itself, passwords, content_fetch, single_objects, uncompressed,
    a_layer_from_its_url, pushed_without_a_tag, labels_are_replaced,
    a_mirror_of_a_hosts_directory, what_is_not_there, what_may_not_be_distributed,
    layers_that_go_once_they_are_unpacked, an_interrupted_fetch_goes_on, layers_compressed_on_their_way_in,
}

/// The digests of the small image's manifest, configuration and layers.
fn parts() -> (String, Vec<String>) {
    let blobs = image::busybox(BUSYBOX).blobs();
    let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]).map(|bytes| image::digest(bytes)).collect();
    (image::digest(&blobs.manifest), all)
}

fn push_and_pull(bed: &mut Bed) {
    round_trip(bed, "");
}

fn push_and_pull_by_ctr_itself(bed: &mut Bed) {
    round_trip(bed, "--local");
}

/// To a registry, seen there by skopeo, and back into an empty store.
fn round_trip(bed: &Bed, flags: &str) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, (manifest, all)) = (registry.name("round/trip:1"), parts());
    ctr.ok(&format!("images push {flags} --plain-http {remote} {image}"));
    let seen = registry.inspect("round/trip:1");
    assert_eq!(seen["Digest"], *manifest);
    assert_eq!(seen["Layers"].as_array().unwrap().len(), 3, "{seen}");
    let copy = bed.daemon.dir().join("copy");
    registry.send("round/trip:1", &copy);
    let (blobs, file) = (image::busybox(BUSYBOX).blobs(), |name: &str| fs::read(copy.join(name)).unwrap());
    assert_eq!(file("manifest.json"), blobs.manifest);
    for blob in blobs.layers.iter().chain([&blobs.config]) {
        assert!(file(&image::digest(blob)[7..]) == *blob, "every byte of it");
    }
    // Once more: there is nothing left to do.
    ctr.ok(&format!("images push {flags} --plain-http {remote} {image}"));

    ctr.ok(&format!("images rm --sync {image}"));
    assert!(ctr.names("content ls").is_empty());
    ctr.ok(&format!("images pull {flags} --plain-http --label team=red {remote}"));
    assert_eq!(ctr.target(&remote), manifest);
    assert_eq!(ctr.ok("images ls -q labels.team==red"), format!("{remote}\n"));
    let check = ctr.ok("images check");
    assert!(check.contains("complete (4/4)") && check.trim_end().ends_with("true"), "{check}");
    assert_eq!(ctr.names("snapshots ls").len(), 3);
    let listing = ctr.ok("content ls");
    for digest in &all {
        let row = listing.lines().find(|row| row.starts_with(digest)).unwrap_or_else(|| panic!("no {digest}"));
        assert!(row.contains("containerd.io/distribution.source.127.0.0.1=round/trip"), "{row}");
    }
    assert!(ctr.names("leases ls").is_empty(), "a pull leaves no lease");
    // And again, over what is there.
    ctr.ok(&format!("images pull {flags} --plain-http {remote}"));
}

fn passwords(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::guarded());
    let (remote, (name, password)) = (registry.name("secret/app:1"), USER);
    for local in ["", "--local"] {
        let wrong = ctr.fails(&format!("images push {local} --plain-http -u {name}:swordfish {remote} {image}"));
        assert!(!wrong.contains("swordfish"), "{wrong}");
        ctr.fails(&format!("images push {local} --plain-http {remote} {image}"));
        ctr.ok(&format!("images push {local} --plain-http --user {name}:{password} {remote} {image}"));
        ctr.fails(&format!("images pull {local} --plain-http {remote}"));
        ctr.ok(&format!("images pull {local} --plain-http --user {name}:{password} {remote}"));
        assert_eq!(ctr.target(&remote), parts().0);
        ctr.ok(&format!("images rm {remote}"));
    }
    assert!(ctr.names("leases ls").is_empty());
}

fn content_fetch(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, (manifest, all)) = (registry.name("a/b:c"), parts());
    ctr.ok(&format!("images push --plain-http {remote} {image}"));
    ctr.ok(&format!("images rm --sync {image}"));
    ctr.ok(&format!("content fetch --plain-http {remote}"));
    assert_eq!(ctr.target(&remote), manifest);
    let names = ctr.names("content ls");
    assert!(all.iter().all(|digest| names.contains(digest)), "{names:?}");
    assert!(ctr.names("snapshots ls").is_empty(), "it is not unpacked");
    // What was fetched can be unpacked, by its digest.
    ctr.ok(&format!("snapshots unpack {manifest}"));
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

fn single_objects(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let blobs = image::busybox(BUSYBOX).blobs();
    let (manifest, layer) = (image::digest(&blobs.manifest), image::digest(&blobs.layers[1]));
    for (digest, media_type) in blobs
        .layers
        .iter()
        .map(|layer| (image::digest(layer), media::GZIP))
        .chain([(image::digest(&blobs.config), media::CONFIG), (manifest.clone(), media::MANIFEST)])
    {
        let said =
            ctr.ok(&format!("content push-object --plain-http {} {digest} {media_type}", registry.name("one/by:1")));
        assert_eq!(said, format!("Pushed {digest} {media_type}\n"));
    }
    assert_eq!(registry.inspect("one/by:1")["Digest"], *manifest);
    ctr.ok(&format!("images rm --sync {image}"));
    let fetched = ctr.ok(&format!("content fetch-object --plain-http {}", registry.name("one/by:1")));
    assert_eq!(fetched.as_bytes(), blobs.manifest);
    let config = image::digest(&blobs.config);
    let fetched = ctr.ok(&format!("content fetch-blob --plain-http {} {config}", registry.name("one/by:1")));
    assert_eq!(fetched.as_bytes(), blobs.config);
    // What is no blob may be a manifest, and the other way round.
    // Without its type, this registry tells only those who know all types.
    let typed = "--media-type application/vnd.oci.image.manifest.v1+json";
    for media_type in [typed, ""].into_iter().take(if bed.row.ctr == Impl::Ours { 2 } else { 1 }) {
        let line = format!("content fetch-blob {media_type} --plain-http {} {manifest}", registry.name("one/by:1"));
        assert_eq!(ctr.ok(&line).as_bytes(), blobs.manifest);
    }
    let fetched = ctr.ok(&format!("content fetch-object --plain-http {}@{config}", registry.name("one/by")));
    assert_eq!(fetched.as_bytes(), blobs.config);
    let twice = ctr.command(&format!("content fetch-blob --plain-http {} {layer} {layer}", registry.name("one/by:1")));
    let output = { twice }.output().unwrap();
    assert!(output.stdout == [&blobs.layers[1][..], &blobs.layers[1]].concat(), "layers come as they are");
    assert!(ctr.names("content ls").is_empty(), "none of it went to the store");
}

/// The name in [`with_a_foreign_layer`].
const FOREIGN: &str = "example.com/foreign:1";

/// A registry that believes what a manifest says of other places.
fn open_minded() -> Registry {
    Registry::start(Tls::Plain, "validation: {manifests: {urls: {allow: ['.*']}}}\n")
}

/// Imports an image with a layer that may not be distributed but is at `elsewhere`, and one without such scruples. Their
/// digests.
fn with_a_foreign_layer(bed: &Bed, elsewhere: &Registry) -> [String; 2] {
    let layer = |text: &[u8]| tests::layer::Layer::new().file("motd", 0o644, text).finish();
    let layers = vec![layer(b"far away"), layer(b"near")];
    let mut blobs = Image { name: String::new(), layers, config: json!({}) }.blobs();
    let layers = [0, 1].map(|at| image::digest(&blobs.layers[at]));
    let mut manifest: Value = serde_json::from_slice(&blobs.manifest).unwrap();
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    manifest["layers"][0]["urls"] = json!([format!("http://{}/v2/app/blobs/{}", elsewhere.address(), layers[0])]);
    blobs.manifest = manifest.to_string().into_bytes();
    let mut entry = image::descriptor(media::MANIFEST, &blobs.manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": FOREIGN });
    let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]).map(Vec::as_slice);
    let archive = bed.daemon.dir().join("foreign.tar");
    fs::write(&archive, image::oci_archive(&[entry], all)).unwrap();
    bed.ctr().ok(&format!("images import --local --no-unpack {}", archive.display()));
    layers
}

/// A layer that the registry has not got, but that says where it is.
fn a_layer_from_its_url(bed: &mut Bed) {
    let (ctr, elsewhere, registry) = (bed.ctr(), Registry::open(), open_minded());
    let [layer, _] = with_a_foreign_layer(bed, &elsewhere);
    ctr.ok(&format!("content push-object --plain-http {} {layer} {}", elsewhere.name("app:1"), media::GZIP));
    let remote = registry.name("foreign:1");
    ctr.ok(&format!("images push --local --plain-http {remote} {FOREIGN}"));
    for command in ["images pull", "images pull --local", "content fetch"] {
        ctr.remove_images();
        ctr.ok(&format!("{command} --plain-http {remote}"));
        assert!(ctr.names("content ls").contains(&layer), "{command}");
    }
}

fn what_may_not_be_distributed(bed: &mut Bed) {
    let (ctr, elsewhere, registry) = (bed.ctr(), Registry::open(), open_minded());
    let [foreign, own] = with_a_foreign_layer(bed, &elsewhere);
    let push = |flags: &str, tag: &str| {
        ctr.ok(&format!("images push --local {flags} --plain-http {} {FOREIGN}", registry.name(tag)));
        (registry.has_blob(&foreign), registry.has_blob(&own))
    };
    assert_eq!(push("", "without:1"), (false, true));
    assert_eq!(push("--allow-non-distributable-blobs", "with:1"), (true, true));
    for local in ["", "--local"] {
        for (flag, has_foreign) in [("--skip-non-distributable", false), ("", true)] {
            let archive = crate::transfer::export(bed, &format!("{local} {flag}"), FOREIGN);
            let has = |digest: &str| {
                let path = format!("blobs/sha256/{}", &digest[7..]);
                tar::Archive::new(&archive[..])
                    .entries()
                    .unwrap()
                    .any(|entry| entry.unwrap().path_bytes() == path.as_bytes())
            };
            assert_eq!((has(&foreign), has(&own)), (has_foreign, true), "{local} {flag}");
        }
    }
}

/// Layers that are unpacked need not stay packed as well.
fn layers_that_go_once_they_are_unpacked(bed: &mut Bed) {
    let (ctr, archive) = (bed.ctr(), image::busybox_archive().display());
    let refused = ctr.fails(&format!("images import --local --no-unpack --discard-unpacked-layers {archive}"));
    assert!(refused.contains("--discard-unpacked-layers") && refused.contains("--no-unpack"), "{refused}");
    ctr.ok(&format!("images import --local --discard-unpacked-layers {archive}"));
    ctr.ok("leases create --id collect");
    ctr.ok("leases rm --sync collect");
    let blobs = image::busybox(BUSYBOX).blobs();
    let mut documents = [image::digest(&blobs.config), image::digest(&blobs.manifest)];
    documents.sort();
    assert_eq!(ctr.names("content ls"), documents);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
    assert!(ctr.ok("images check").contains("incomplete (1/4)"));
    assert_eq!(ctr.ok(&format!("run --rm {BUSYBOX} after cat /etc/motd")), "last\n");
}

fn pushed_without_a_tag(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let manifest = parts().0;
    for (local, name) in [("--local", "by/itself"), ("", "by/transfer")] {
        ctr.ok(&format!("images push {local} --plain-http {} {image}", registry.name(name)));
        let there = ctr.ok(&format!("content fetch-object --plain-http {}@{manifest}", registry.name(name)));
        assert_eq!(image::digest(there.as_bytes()), manifest);
    }
}

/// A record that exists is replaced, with its labels.
fn labels_are_replaced(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let remote = registry.name("labelled:1");
    ctr.ok(&format!("images push --plain-http {remote} {image}"));
    for command in ["images pull --local", "content fetch"] {
        ctr.ok(&format!("{command} --plain-http --label team=red {remote}"));
        assert_eq!(ctr.ok("images ls -q labels.team==red"), format!("{remote}\n"));
        ctr.ok(&format!("{command} --plain-http {remote}"));
        assert_eq!(ctr.ok("images ls -q labels.team==red"), "", "{command}");
    }
}

fn uncompressed(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let said = ctr.ok(&format!("images convert --uncompress --oci {image} example.com/plain:1"));
    let digest = ctr.target("example.com/plain:1");
    assert_eq!(said.trim_end(), digest);
    let manifest: Value = serde_json::from_str(&ctr.ok(&format!("content get {digest}"))).unwrap();
    let plain = image::busybox(BUSYBOX);
    for (layer, tar) in manifest["layers"].as_array().unwrap().iter().zip(&plain.layers) {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
        assert_eq!((&layer["digest"], &layer["size"]), (&json!(image::digest(tar)), &json!(tar.len())));
    }
    assert!(ctr.fails("images convert --uncompress example.com/absent:1 example.com/x:1").contains("absent:1"));
    // Onto its own name, the record stays and points elsewhere.
    let created = |name: &str| {
        let tree = ctr.ok(&format!("images inspect {name}"));
        tree.lines().find(|line| line.contains("Created:")).unwrap().to_owned()
    };
    let before = created("example.com/plain:1");
    ctr.ok("images convert --uncompress --oci example.com/plain:1 example.com/plain:1");
    assert_eq!((created("example.com/plain:1"), ctr.target("example.com/plain:1")), (before, digest));
    // The result lives on its own.
    ctr.ok(&format!("images rm --sync {image}"));
    assert!(ctr.ok("images check").contains("complete (4/4)"));
    assert!(ctr.names("leases ls").is_empty());
}

/// A directory in which `registry.example` is served by `mirror`; the registry itself is nowhere, nor is a mirror before.
fn mirrored_by(mirror: &Registry, dir: &Path) {
    fs::create_dir_all(dir.join("registry.example")).unwrap();
    let text = format!(
        "server = \"http://127.0.0.1:1\"\n[host.\"http://127.0.0.1:1\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
         [host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        mirror.address()
    );
    fs::write(dir.join("registry.example/hosts.toml"), text).unwrap();
}

fn a_mirror_of_a_hosts_directory(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    ctr.ok(&format!("images push --plain-http {} {image}", registry.name("app:1")));
    let dir = bed.daemon.dir().join("hosts");
    mirrored_by(&registry, &dir);
    for local in ["", "--local"] {
        ctr.ok(&format!("images pull {local} --hosts-dir {} registry.example/app:1", dir.display()));
        assert_eq!(ctr.target("registry.example/app:1"), parts().0);
        ctr.ok("images rm --sync registry.example/app:1");
    }
}

/// The daemon's own hosts directories, of which the first is not there; nobody names them in a pull. Go's daemon reads
/// the setting and does nothing with it.
#[test]
fn a_mirror_of_the_daemons_configuration() {
    let (registry, hosts) = (Registry::open(), tempfile::tempdir().unwrap());
    mirrored_by(&registry, &hosts.path().join("second"));
    let settings = format!(
        "[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n\
         [plugins.\"io.containerd.transfer.v1.local\"]\nconfig_path = \"{0}/first:{0}/second\"\n",
        hosts.path().display()
    );
    let daemon = Daemon::configured(Impl::Ours, Impl::Ours, &settings);
    let ctr = daemon.ctr(Impl::Ours);
    ctr.ok(&format!("images import --local {}", image::busybox_archive().display()));
    ctr.ok(&format!("images push --plain-http {} {BUSYBOX}", registry.name("app:1")));
    for which in [Impl::Go, Impl::Ours] {
        let ctr = daemon.ctr(which);
        ctr.ok("images pull registry.example/app:1");
        assert_eq!(ctr.target("registry.example/app:1"), parts().0);
        ctr.ok("images rm --sync registry.example/app:1");
    }
    daemon.finish();
}

/// Another containerd as a remote snapshotter, which has the image's layers already: they are not fetched.
#[test]
fn layers_that_a_remote_snapshotter_has() {
    let (remote, registry) = (Daemon::start(Impl::Go, Impl::Go), Registry::open());
    // In the place of our own.
    let settings = format!(
        "[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n\
         [proxy_plugins.overlayfs]\ntype = \"snapshot\"\naddress = \"{}\"\n",
        remote.socket().display()
    );
    let daemon = Daemon::configured(Impl::Ours, Impl::Ours, &settings);
    // Real ones know no namespaces; this one has what it offers in that of calls that name none.
    let there = remote.ctr(Impl::Go).in_namespace("default");
    there.ok(&format!("images import --local {}", image::busybox_archive().display()));
    there.ok(&format!("images push --plain-http {} {BUSYBOX}", registry.name("app:1")));
    for chain_id in there.names("snapshots ls") {
        there.ok(&format!("snapshots label {chain_id} containerd.io/snapshot.ref={chain_id}"));
    }
    let (proxy, blobs) = (Proxy::before(&registry), image::busybox(BUSYBOX).blobs());
    let (ctr, name) = (daemon.ctr(Impl::Ours).in_namespace("default"), proxy.name("app:1"));
    ctr.ok(&format!("images pull --plain-http {name}"));
    let times = |blob: &Vec<u8>| proxy.gets(&image::digest(blob)).len();
    assert_eq!((times(&blobs.config), blobs.layers.iter().map(times).sum()), (1, 0));
    let target = daemon.dir().join("mounted");
    fs::create_dir(&target).unwrap();
    ctr.ok(&format!("images mount {name} {}", target.display()));
    assert_eq!(fs::read_to_string(target.join("etc/motd")).unwrap(), "last\n");
    ctr.ok(&format!("images unmount --rm {}", target.display()));
    ctr.ok(&format!("images rm --sync {name}"));
    daemon.finish();
    there.ok(&format!("images rm --sync {BUSYBOX}"));
    remote.finish();
}

fn an_interrupted_fetch_goes_on(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, blobs) = (registry.name("half:1"), image::busybox(BUSYBOX).blobs());
    ctr.ok(&format!("images push --plain-http {remote} {image}"));
    ctr.ok(&format!("images rm --sync {image}"));
    // What an earlier attempt has left, under the name that every client of containerd gives it.
    let layer = &blobs.layers[0];
    let ingest = format!("layer-{}", image::digest(layer));
    bed.api().write(vec![stat(&ingest), write(&ingest, 0, &layer[..100_000])]).unwrap();
    ctr.ok(&format!("content fetch --plain-http {remote}"));
    let stored = { ctr.command(&format!("content get {}", image::digest(layer))) }.output().unwrap().stdout;
    assert!(stored == *layer, "the halves fit");
    assert!(!ctr.ok("content active").contains(&ingest));
    if bed.row.ctr == Impl::Ours {
        ctr.ok(&format!("images rm --sync {remote}"));
        bed.api().write(vec![stat(&ingest), write(&ingest, 0, &layer[..100_000])]).unwrap();
        let out = ctr.run(&format!("content fetch --http-dump --plain-http {remote}"));
        assert!(out.code == 0 && out.stderr.contains("bytes=100000-"), "only the rest was asked for: {out:?}");
    }
}

fn layers_compressed_on_their_way_in(bed: &mut Bed) {
    let archive = bed.daemon.dir().join("plain.tar");
    fs::write(&archive, image::busybox("example.com/from/docker:2").docker_archive()).unwrap();
    let ctr = bed.ctr();
    for local in ["", "--local"] {
        ctr.ok(&format!("images import {local} --compress-blobs {}", archive.display()));
        all_layers_are_compressed(&ctr);
        ctr.remove_images();
    }
}

fn all_layers_are_compressed(ctr: &Ctr) {
    assert_eq!(ctr.names("images ls"), ["example.com/from/docker:2"]);
    let digest = ctr.target("example.com/from/docker:2");
    let manifest: Value = serde_json::from_str(&ctr.ok(&format!("content get {digest}"))).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        assert!(layer["mediaType"].as_str().unwrap().ends_with("gzip"), "{layer}");
        let bytes =
            { ctr.command(&format!("content get {}", layer["digest"].as_str().unwrap())) }.output().unwrap().stdout;
        assert!(bytes.starts_with(&[0x1f, 0x8b]), "{layer}");
    }
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

fn what_is_not_there(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let remote = registry.name("no/such:image");
    for local in ["", "--local"] {
        let error = ctr.fails(&format!("images pull {local} --plain-http {remote}"));
        assert!(error.contains(&remote) || error.contains("no/such"), "{error}");
        let error = ctr.fails(&format!("images push {local} --plain-http {remote} example.com/nowhere:1"));
        let named = if bed.row.ctr == Impl::Ours { "example.com/nowhere:1" } else { "nowhere" };
        assert!(error.contains(named), "{error}");
    }
    assert!(ctr.names("images ls").is_empty() && ctr.names("leases ls").is_empty());
}
