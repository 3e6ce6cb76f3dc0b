//! Generates the wire types from the .proto files that published crates carry.
//!
//! Three passes: containerd's gRPC API, the shim's ttrpc messages (over the first
//! pass's types), and CRI. What the published files lack is either a small .proto of
//! our own in `protos/`, or one line of the tables in `deltas.rs`.

#![allow(clippy::expect_used, clippy::panic, reason = "a build script reports by panicking")]

mod deltas;
mod sources;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::{env, fs, path::PathBuf};

/// containerd's own API, relative to the vendored root.
const API: &[&str] = &[
    "events/container.proto",
    "events/content.proto",
    "events/image.proto",
    "events/namespace.proto",
    "events/sandbox.proto",
    "events/snapshot.proto",
    "events/task.proto",
    "services/containers/v1/containers.proto",
    "services/content/v1/content.proto",
    "services/diff/v1/diff.proto",
    "services/events/v1/events.proto",
    "services/images/v1/images.proto",
    "services/introspection/v1/introspection.proto",
    "services/leases/v1/leases.proto",
    "services/namespaces/v1/namespace.proto",
    "services/sandbox/v1/sandbox.proto",
    "services/snapshots/v1/snapshots.proto",
    "services/streaming/v1/streaming.proto",
    "services/tasks/v1/tasks.proto",
    "services/transfer/v1/transfer.proto",
    "services/version/v1/version.proto",
    "types/runc/options/oci.proto",
    "types/runtimeoptions/v1/api.proto",
    "types/transfer/imagestore.proto",
    "types/transfer/importexport.proto",
    "types/transfer/progress.proto",
    "types/transfer/registry.proto",
    "types/transfer/streaming.proto",
];

/// Our own additions, in `protos/`.
const API_OWN: &[&str] = &["activation.proto", "mounts.proto", "transfer_streams.proto"];

/// Messages spoken over ttrpc. `task.v2` has the messages of `task.v3` under another
/// service name, so one set serves both.
const SHIM: &[&str] = &[
    "github.com/containerd/cgroups/cgroup2/stats/metrics.proto",
    "github.com/containerd/cgroups/stats/v1/metrics.proto",
    "runtime/bootstrap/v1/bootstrap.proto",
    "runtime/sandbox/v1/sandbox.proto",
    "runtime/task/v3/shim.proto",
    "services/ttrpc/events/v1/events.proto",
];

const API_ROOT: &str = "github.com/containerd/containerd/api/";

#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=protos");
    let sources = sources::Sources::locate();
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    api(&sources, grpc);
    shim(&sources);
    if grpc {
        cri(&sources);
    }
}

fn api(sources: &sources::Sources, grpc: bool) {
    let files: Vec<String> =
        API.iter().map(|file| format!("{API_ROOT}{file}")).chain(API_OWN.iter().map(|&file| file.to_owned())).collect();
    let mut set = compile(&files, &[sources.of("containerd-client").join("vendor"), own()]);
    deltas::apply(&mut set, deltas::API);
    // The set as reflection serves it; the generator needs no source locations.
    fs::write(out("").join("api.descriptors"), set.encode_to_vec()).expect("write descriptor set");
    deltas::apply(&mut set, deltas::ENCODED);
    let mut config = config("api.rs");
    // Content travels in chunks of a megabyte: `Bytes` spares a copy of each.
    config.bytes([".containerd.services.content.v1", ".containerd.types.transfer.Data"]);
    generate(set, config, grpc, "api");
}

fn shim(sources: &sources::Sources) {
    let vendor = sources.of("containerd-shim-protos").join("vendor");
    let mut set = compile(SHIM, &[vendor.join(API_ROOT), vendor]);
    deltas::apply(&mut set, deltas::SHIM);
    fs::write(out("").join("shim.descriptors"), set.encode_to_vec()).expect("write descriptor set");
    let mut config = config("shim.rs");
    config
        .out_dir(out("shim"))
        .extern_path(".containerd.types", "crate::api::containerd::types")
        .extern_path(".containerd.v1.types", "crate::api::containerd::v1::types");
    config.compile_fds(set).expect("generate shim messages");
}

fn cri(sources: &sources::Sources) {
    let mut set = compile(&["v1.proto", "cri_additions.proto"], &[sources.of("k8s-cri").join("proto"), own()]);
    deltas::apply(&mut set, deltas::CRI);
    generate(set, config("cri.rs"), true, "cri");
}

fn compile<P: AsRef<std::path::Path>>(files: &[P], includes: &[PathBuf]) -> FileDescriptorSet {
    let mut set = protox::compile(files, includes).unwrap_or_else(|error| panic!("{error:?}"));
    // Deltas have no source location, and prost-build looks one up for every method.
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

fn config(include: &str) -> prost_build::Config {
    let mut config = prost_build::Config::new();
    config
        .enable_type_names() // the bare full name is containerd's type URL
        .disable_comments(["."]) // upstream comments are not valid doctests
        .btree_map(["."]) // as labels are in model: they move, and are written in order
        .include_file(include);
    config
}

fn generate(set: FileDescriptorSet, config: prost_build::Config, grpc: bool, folder: &str) {
    tonic_prost_build::configure()
        .out_dir(out(folder))
        .build_client(grpc)
        .build_server(grpc)
        .build_transport(false)
        .compile_fds_with_config(set, config)
        .expect("generate gRPC stubs");
}

fn out(folder: &str) -> PathBuf {
    let path = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR")).join(folder);
    fs::create_dir_all(&path).expect("create output folder");
    path
}

fn own() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("CARGO_MANIFEST_DIR")).join("protos")
}
