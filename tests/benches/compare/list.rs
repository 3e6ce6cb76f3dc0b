//! Listing ten thousand records over gRPC.

use std::time::Instant;

use proto::api::containerd::services::containers::v1::{Container, CreateContainerRequest, container::Runtime};
use proto::api::containerd::services::images::v1::{CreateImageRequest, Image};
use proto::api::containerd::types::Descriptor;
use tests::api::Api;

use crate::table::Table;

const RECORDS: usize = 10_000;
const CREATORS: usize = 16;
const ROUNDS: usize = 9;

/// What is listed, by which method, and a name that must be in the reply. The reply is not decoded: that is the
/// client's work.
const LISTS: [(&str, &str, &str); 2] = [
    ("list 10,000 containers", "/containerd.services.containers.v1.Containers/List", "container-9999"),
    ("list 10,000 images", "/containerd.services.images.v1.Images/List", "image-9999:1"),
];

pub(crate) fn run(table: &mut Table) {
    let daemons = crate::SIDES.map(crate::daemon);
    for daemon in &daemons {
        std::thread::scope(|scope| {
            for creator in 0..CREATORS {
                let api = Api::connect(&daemon.socket(), daemon.namespace());
                scope.spawn(move || (creator..RECORDS).step_by(CREATORS).for_each(|count| create(&api, count)));
            }
        });
    }
    let apis = daemons.each_ref().map(|daemon| Api::connect(&daemon.socket(), daemon.namespace()));
    for _ in 0..ROUNDS {
        for (side, api) in crate::SIDES.iter().zip(&apis) {
            for (what, method, last) in LISTS {
                let start = Instant::now();
                let reply = api.raw(method, b"").expect("list");
                let took = start.elapsed().as_secs_f64() * 1e3;
                assert!(reply.windows(last.len()).any(|part| part == last.as_bytes()), "{what}: the last one is there");
                table.add(*side, what, "ms", Some(0.5), took);
            }
        }
    }
}

/// A container and an image of the usual size, less the specification.
fn create(api: &Api, count: usize) {
    let labels =
        [("io.example.pod".to_owned(), format!("pod-{count}")), ("io.example.kind".to_owned(), "bench".to_owned())];
    let spec = prost_types::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
        value: br#"{"ociVersion":"1.1.0","process":{"args":["true"],"cwd":"/"},"root":{"path":"rootfs"}}"#.to_vec(),
    };
    let container = Container {
        id: format!("container-{count}"),
        labels: labels.clone().into(),
        image: format!("registry.example/team/image-{count}:1"),
        runtime: Some(Runtime { name: "io.containerd.runc.v2".to_owned(), options: None }),
        spec: Some(spec),
        ..Default::default()
    };
    let request = CreateContainerRequest { container: Some(container) };
    api.call(api.containers().create(request)).expect("create a container");
    let target = Descriptor {
        media_type: tests::image::media::MANIFEST.to_owned(),
        digest: tests::image::digest(&count.to_le_bytes()),
        size: 1000,
        annotations: [].into(),
    };
    let name = format!("registry.example/team/image-{count}:1");
    let image = Image { name, labels: labels.into(), target: Some(target), ..Default::default() };
    api.call(api.images().create(CreateImageRequest { image: Some(image), source_date_epoch: None }))
        .expect("create an image");
}
