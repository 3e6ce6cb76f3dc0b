//! Pushes.

use crate::{
    bed::{Bed, host, image_store, registry as registry_of},
    image::{INDEX, Image, Layer, digest, index},
    registry::{Registry, repository},
};
use engine::transfer::{Destination, ImageStore, Platform, ProgressSink, Source};

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
    assert!(bed.push("no-such-image", &there).await.unwrap_err().is_not_found());
}
