//! Listing records over gRPC: ten thousand, and fewer to see how the cost grows.

use std::time::Instant;

use proto::api::containerd::services::containers::v1::{Container, CreateContainerRequest, container::Runtime};
use proto::api::containerd::services::images::v1::{CreateImageRequest, Image};
use proto::api::containerd::types::Descriptor;
use tests::Daemon;
use tests::api::Api;

use crate::table::Table;

/// How many records there are, each number in a namespace of its own, with the ratio wanted.
const SIZES: [(usize, Option<f64>); 3] = [(100, None), (1_000, None), (10_000, Some(0.5))];
const CREATORS: usize = 16;
const ROUNDS: usize = 9;

/// What is listed, and by which method.
const LISTS: [(&str, &str); 2] = [
    ("container", "/containerd.services.containers.v1.Containers/List"),
    ("image", "/containerd.services.images.v1.Images/List"),
];

pub(crate) fn run(table: &mut Table) {
    let daemons = crate::SIDES.map(crate::daemon);
    let apis = SIZES.map(|(records, _)| daemons.each_ref().map(|daemon| connect(daemon, records)));
    for (daemon, (records, _)) in daemons.iter().flat_map(|daemon| SIZES.map(|size| (daemon, size))) {
        std::thread::scope(|scope| {
            for creator in 0..CREATORS {
                let api = connect(daemon, records);
                scope.spawn(move || (creator..records).step_by(CREATORS).for_each(|count| create(&api, count)));
            }
        });
    }
    for _ in 0..ROUNDS {
        for ((records, goal), apis) in SIZES.iter().zip(&apis) {
            for (side, api) in crate::SIDES.iter().zip(apis) {
                for (what, method) in LISTS {
                    let took = list(api, method, &format!("{what}-{}", records - 1));
                    table.add(*side, &format!("list {records} {what}s"), "ms", *goal, took);
                }
            }
        }
    }
}

fn connect(daemon: &Daemon, records: usize) -> Api {
    Api::connect(&daemon.socket(), &format!("{}-{records}", daemon.namespace()))
}

/// Lists in milliseconds; `last` must be in the reply. It is not decoded: that is the client's work.
fn list(api: &Api, method: &'static str, last: &str) -> f64 {
    let start = Instant::now();
    let reply = api.raw(method, b"").expect("list");
    let took = start.elapsed().as_secs_f64() * 1e3;
    assert!(reply.windows(last.len()).any(|part| part == last.as_bytes()), "{last} is listed");
    took
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
