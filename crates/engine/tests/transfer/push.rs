//! Pushes.

use crate::{
    bed::{Bed, host, image_store, registry as registry_of},
    fake::Fake,
    image::{INDEX, Image, Layer, digest, index},
    registry::{Registry, repository},
    uploads::Uploads,
};
use engine::transfer::{Destination, ImageStore, Platform, ProgressSink, Source, TransferConfig};
use std::{
    io::{self, Read as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_can_be_pulled() {
    let registry = Registry::start("", "");
    let image = Image::new(vec![Layer::random("a", 2 << 20, 1), Layer::new(&[("b", b"b")])]);
    image.push(&repository(&registry.address, "from"), "v1").await;
    let bed = Bed::new();
    let (here, there) = (format!("{}/from:v1", registry.address), format!("{}/to/app:v2", registry.address));
    bed.pull(&here, "").await.unwrap();
    bed.push(&here, &there).await.unwrap();

    let other = Bed::new();
    other.pull(&there, "overlayfs").await.unwrap();
    let record = other.store.get_image(&other.scope, &there).unwrap();
    assert_eq!(record.target.digest, image.digest());
    assert_eq!(other.file("overlayfs", &image.chain()[1], "b").unwrap(), b"b");
}

/// What was pulled from one repository is mounted into another; what is there is not sent; all platforms of an index
/// arrive, or those that were asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_pushed_without_sending_what_is_there() {
    let registry = Registry::start("", "");
    let ours = Image::new(vec![Layer::random("a", 1 << 20, 1)]);
    let theirs = Image::for_platform(vec![Layer::random("a", 1 << 20, 2)], "arm64");
    let from = repository(&registry.address, "team/from");
    ours.push(&from, "ours").await;
    theirs.push(&from, "theirs").await;
    let both = index(&[("amd64", &ours), ("arm64", &theirs)]);
    from.put_manifest("v1", INDEX, both.clone().into()).await.unwrap();

    let bed = Bed::new();
    let name = format!("{}/team/from:v1", registry.address);
    let all = ImageStore { platforms: Vec::new(), ..image_store(&name, "") };
    bed.transfer(Source::Registry(registry_of(&name)), Destination::Store(all)).await.unwrap();
    let events = async |to: &str, platforms: Vec<Platform>| {
        let progress = ProgressSink::new();
        let from = ImageStore { name: name.clone(), platforms, ..ImageStore::default() };
        let to = registry_of(&format!("{}/{to}", registry.address));
        let pushed =
            bed.transfers.transfer(&bed.scope, Source::Store(from), Destination::Registry(to), &progress).await;
        let told = std::iter::from_fn(|| progress.try_next()).filter(|told| told.name.starts_with("layer-"));
        (pushed, told.map(|told| told.event).collect::<Vec<_>>())
    };
    // Mounted: the registry says that it has it.
    let (pushed, told) = events("team/to:v2", Vec::new()).await;
    pushed.unwrap();
    assert!(!told.iter().any(|event| event == "uploading"), "{told:?}");
    let to = repository(&registry.address, "team/to");
    assert_eq!(to.resolve("v2").await.unwrap().digest, digest(&both));
    assert!(to.has_blob(&theirs.layers[0].digest()).await.unwrap());

    // A registry refuses an index without all of its images, and says so.
    let (pushed, _) = events("team/part:v1", vec![host()]).await;
    let error = pushed.unwrap_err();
    assert!(error.to_string().contains("team/part"), "{error}");

    // Another registry has to be sent everything, in requests that may break in the middle.
    let other = Registry::start("", "");
    let there = format!("{}/app:v1", other.address);
    bed.push(&name, &there).await.unwrap();
    let target = repository(&other.address, "app");
    assert_eq!(target.resolve("v1").await.unwrap().digest, digest(&both));
    bed.push(&name, &there).await.unwrap();
    // A digest beside the tag is no reason not to write the tag.
    bed.push(&name, &format!("{}/app:v2@{}", other.address, digest(&both))).await.unwrap();
    assert_eq!(target.resolve("v2").await.unwrap().digest, digest(&both));
    assert!(bed.push("no-such-image", &there).await.unwrap_err().is_not_found());
}

/// An image in a store, with one large layer: its name, and the layer.
async fn stored(bed: &Bed) -> (String, Layer) {
    let image = Image::new(vec![Layer::random("a", 12 << 20, 7)]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    bed.pull(&fake.reference("v1"), "").await.unwrap();
    (fake.reference("v1"), image.layers[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_goes_on_from_what_the_registry_has() {
    let bed = Bed::new();
    let (name, layer) = stored(&bed).await;
    // Once in the one request that was to be all, once in the middle of a piece of the rest.
    let registry = Uploads::start(&[3 << 20, 1 << 20], false);
    bed.push(&name, &registry.reference()).await.unwrap();
    assert_eq!(registry.content(&format!("blobs/{}", layer.digest())).unwrap(), layer.blob);
    assert!(registry.content("manifests/v1").is_some());
    let config = registry.received() - layer.blob.len();
    assert!(config < 1000, "no byte of the layer was sent twice: {config}");
    let pieces: Vec<String> = registry.asked().into_iter().filter(|asked| asked.starts_with("PATCH")).collect();
    let (first, second, piece) = (3 << 20, 4 << 20, 4 << 20);
    assert_eq!(pieces[0], format!("PATCH {first}-{}", first + piece - 1));
    assert_eq!(pieces[1], format!("PATCH {second}-{}", second + piece - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_registry_has_lost_begins_anew() {
    let bed = Bed::new();
    let (name, layer) = stored(&bed).await;
    let registry = Uploads::start(&[3 << 20], true);
    bed.push(&name, &registry.reference()).await.unwrap();
    assert_eq!(registry.content(&format!("blobs/{}", layer.digest())).unwrap(), layer.blob);
    assert_eq!(registry.asked().iter().filter(|asked| *asked == "POST").count(), 3, "two for the layer, one else");
    // One that loses it again and again is given up.
    let registry = Uploads::start(&[1 << 20; 20], true);
    let error = bed.push(&name, &registry.reference()).await.unwrap_err();
    assert!(error.to_string().contains(layer.digest().as_str()), "{error}");
    assert!(registry.content("manifests/v1").is_none());
}

/// A registry syncs a blob before it answers: the next one is sent meanwhile, even where one is sent at a time. What
/// waits so is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_sent_while_others_wait_for_their_answer() {
    let bed = Bed::with(TransferConfig { max_concurrent_uploads: 1, ..TransferConfig::default() });
    let image = Image::new((0..8).map(|seed| Layer::random("a", 1 << 20, seed)).collect());
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    bed.pull(&fake.reference("v1"), "").await.unwrap();
    // The config is one of them.
    let registry = Uploads::holding(4);
    bed.push(&fake.reference("v1"), &registry.reference()).await.unwrap();
    for layer in &image.layers {
        assert_eq!(registry.content(&format!("blobs/{}", layer.digest())).unwrap(), layer.blob);
    }
    assert!((4..=5).contains(&registry.most()), "one that is sent and four more: {}", registry.most());
}

/// Debian's docker-registry drops an upload whose connection broke.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_registry_breaks_in_the_middle_of_an_upload() {
    let bed = Bed::new();
    let (name, layer) = stored(&bed).await;
    let registry = Registry::start("", "");
    let (address, broken) = breaking_once(&registry.address, 3 << 20);
    bed.push(&name, &format!("{address}/app:v1")).await.unwrap();
    assert!(broken.load(Ordering::SeqCst));
    assert!(repository(&registry.address, "app").has_blob(&layer.digest()).await.unwrap());
}

/// A way to `upstream` that breaks the first connection that has carried `bytes` to it; whether it has.
fn breaking_once(upstream: &str, bytes: u64) -> (String, Arc<AtomicBool>) {
    let (listener, upstream) = (TcpListener::bind("127.0.0.1:0").unwrap(), upstream.to_owned());
    let address = listener.local_addr().unwrap().to_string();
    let broken = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&broken);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (server, broken) = (TcpStream::connect(&upstream).unwrap(), Arc::clone(&shared));
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                // Whichever end closes ends the other.
                let carried = io::copy(&mut (&from).take(bytes), &mut &to).unwrap_or(0);
                if carried == bytes && broken.swap(true, Ordering::SeqCst) {
                    let _ = io::copy(&mut &from, &mut &to);
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
            thread::spawn(move || {
                let _ = io::copy(&mut &server, &mut &client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    (address, broken)
}
