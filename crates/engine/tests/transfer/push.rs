//! Pushes.

use crate::{
    bed::Bed,
    image::{Image, Layer},
    registry::{Registry, repository},
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
