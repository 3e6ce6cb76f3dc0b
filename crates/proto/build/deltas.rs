//! What containerd's and Kubernetes' newest API has and the published .proto files lack.
//!
//! prost drops unknown fields, so a missing one would be lost data. Each line fails the
//! build once upstream carries it, and is then deleted.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto, field_descriptor_proto::Label,
    field_descriptor_proto::Type,
};

/// One difference between the published .proto files and the current API.
#[allow(dead_code, reason = "kinds of delta come and go with upstream")]
pub(crate) enum Delta {
    /// message, field, number, type
    Field(&'static str, &'static str, i32, Kind),
    /// service, method, request, response, whether the response streams
    Method(&'static str, &'static str, &'static str, &'static str, bool),
    /// The published type of a field is wrong: message, field, type
    Retype(&'static str, &'static str, Kind),
}

/// A field's type.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "kinds of delta come and go with upstream")]
pub(crate) enum Kind {
    Scalar(Type),
    Repeated(Type),
    Message(&'static str),
    Enum(&'static str),
}

use Delta::{Field, Method, Retype};
use Kind::{Enum, Message, Repeated, Scalar};

pub(crate) const API: &[Delta] = &[
    Field("containerd.types.Platform", "os_features", 5, Repeated(Type::String)),
    Field("containerd.services.snapshots.v1.CommitSnapshotRequest", "parent", 5, Scalar(Type::String)),
    Field("containerd.services.sandbox.v1.ControllerStartResponse", "spec", 7, Message(".google.protobuf.Any")),
    Field("containerd.services.tasks.v1.CreateTaskRequest", "task_api_address", 11, Scalar(Type::String)),
    Field("containerd.services.tasks.v1.CreateTaskRequest", "task_api_version", 12, Scalar(Type::Uint32)),
    Field("containerd.events.ContentCreate", "mediaType", 3, Scalar(Type::String)),
    Field("containerd.runc.v1.CheckpointOptions", "parent_path", 10, Scalar(Type::String)),
];

/// The same bytes on the wire: whoever lists thousands of records encodes each as it is read, and need not hold
/// them all.
pub(crate) const ENCODED: &[Delta] = &[
    Retype("containerd.services.containers.v1.ListContainersResponse", "containers", Repeated(Type::Bytes)),
    Retype("containerd.services.images.v1.ListImagesResponse", "images", Repeated(Type::Bytes)),
];

pub(crate) const SHIM: &[Delta] = &[];

const RUNTIME: &str = "runtime.v1.RuntimeService";

pub(crate) const CRI: &[Delta] = &[
    Field("runtime.v1.ImageSpec", "image_ref", 20, Scalar(Type::String)),
    Field("runtime.v1.Mount", "image_sub_path", 10, Scalar(Type::String)),
    Field("runtime.v1.ContainerConfig", "stop_signal", 18, Enum(".runtime.v1.Signal")),
    Field("runtime.v1.ContainerStatus", "stop_signal", 19, Enum(".runtime.v1.Signal")),
    Field("runtime.v1.RuntimeFeatures", "user_namespaces_host_network", 2, Scalar(Type::Bool)),
    Field("runtime.v1.LinuxPodSandboxStats", "io", 6, Message(".runtime.v1.IoUsage")),
    Field("runtime.v1.ContainerStats", "io", 6, Message(".runtime.v1.IoUsage")),
    Field("runtime.v1.CpuUsage", "psi", 4, Message(".runtime.v1.PsiStats")),
    Field("runtime.v1.MemoryUsage", "psi", 8, Message(".runtime.v1.PsiStats")),
    Retype("runtime.v1.KeyValue", "value", Scalar(Type::Bytes)),
    Method(
        RUNTIME,
        "UpdatePodSandboxResources",
        "UpdatePodSandboxResourcesRequest",
        "UpdatePodSandboxResourcesResponse",
        false,
    ),
    Method(RUNTIME, "StreamPodSandboxes", "StreamPodSandboxesRequest", "StreamPodSandboxesResponse", true),
    Method(RUNTIME, "StreamPodSandboxStats", "StreamPodSandboxStatsRequest", "StreamPodSandboxStatsResponse", true),
    Method(RUNTIME, "StreamContainers", "StreamContainersRequest", "StreamContainersResponse", true),
    Method(RUNTIME, "StreamContainerStats", "StreamContainerStatsRequest", "StreamContainerStatsResponse", true),
    Method("runtime.v1.ImageService", "StreamImages", "StreamImagesRequest", "StreamImagesResponse", true),
    Method(
        RUNTIME,
        "StreamPodSandboxMetrics",
        "StreamPodSandboxMetricsRequest",
        "StreamPodSandboxMetricsResponse",
        true,
    ),
];

/// Applies `deltas` to `set`.
pub(crate) fn apply(set: &mut FileDescriptorSet, deltas: &[Delta]) {
    for delta in deltas {
        match *delta {
            Field(message, name, number, kind) => add_field(set, message, name, number, kind),
            Method(service, name, request, response, stream) => {
                add_method(set, service, name, request, response, stream)
            }
            Retype(message, name, kind) => retype(set, message, name, kind),
        }
    }
}

fn add_field(set: &mut FileDescriptorSet, message: &str, name: &str, number: i32, kind: Kind) {
    let fields = &mut find(set, message).field;
    assert!(!fields.iter().any(|field| field.number() == number), "{message}.{name} is upstream now: drop its delta");
    let mut field = FieldDescriptorProto {
        name: Some(name.into()),
        json_name: Some(name.into()),
        number: Some(number),
        ..Default::default()
    };
    set_kind(&mut field, kind);
    fields.push(field);
}

fn retype(set: &mut FileDescriptorSet, message: &str, name: &str, kind: Kind) {
    let field = find(set, message)
        .field
        .iter_mut()
        .find(|field| field.name() == name)
        .unwrap_or_else(|| panic!("{message}.{name} is gone: drop its delta"));
    let before = (field.r#type, field.type_name.clone());
    set_kind(field, kind);
    assert!(
        before != (field.r#type, field.type_name.clone()),
        "{message}.{name} is right upstream now: drop its delta"
    );
}

fn set_kind(field: &mut FieldDescriptorProto, kind: Kind) {
    let (label, ty, name) = match kind {
        Scalar(ty) => (Label::Optional, ty, None),
        Repeated(ty) => (Label::Repeated, ty, None),
        Message(name) => (Label::Optional, Type::Message, Some(name)),
        Enum(name) => (Label::Optional, Type::Enum, Some(name)),
    };
    field.set_label(label);
    field.set_type(ty);
    field.type_name = name.map(Into::into);
}

fn add_method(set: &mut FileDescriptorSet, service: &str, name: &str, request: &str, response: &str, stream: bool) {
    let (package, short) = service.rsplit_once('.').expect("a full service name");
    let methods = &mut set
        .file
        .iter_mut()
        .filter(|file| file.package() == package)
        .flat_map(|file| &mut file.service)
        .find(|candidate| candidate.name() == short)
        .unwrap_or_else(|| panic!("service {service} is gone: drop its delta"))
        .method;
    assert!(!methods.iter().any(|method| method.name() == name), "{service}.{name} is upstream now: drop its delta");
    methods.push(MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(format!(".{package}.{request}")),
        output_type: Some(format!(".{package}.{response}")),
        server_streaming: Some(stream),
        ..Default::default()
    });
}

fn find<'a>(set: &'a mut FileDescriptorSet, message: &str) -> &'a mut DescriptorProto {
    let (package, short) = message.rsplit_once('.').expect("a full message name");
    set.file
        .iter_mut()
        .filter(|file| file.package() == package)
        .flat_map(|file| &mut file.message_type)
        .find(|candidate| candidate.name() == short)
        .unwrap_or_else(|| panic!("message {message} is gone: drop its delta"))
}
