"""Lists namespaces, containers and images through the `containerd` package; argv: socket, namespace."""

import sys

import grpc
from containerd.services.containers.v1 import containers_pb2, containers_pb2_grpc
from containerd.services.images.v1 import images_pb2, images_pb2_grpc
from containerd.services.namespaces.v1 import namespace_pb2, namespace_pb2_grpc

socket, namespace = sys.argv[1:]
metadata = (("containerd-namespace", namespace),)
# A bare path, as the package's README has it: the C core makes it the request's authority.
with grpc.insecure_channel(f"unix:{socket}") as channel:
    namespaces = namespace_pb2_grpc.NamespacesStub(channel)
    for found in namespaces.List(namespace_pb2.ListNamespacesRequest(), timeout=30).namespaces:
        print("namespace", found.name)
    containers = containers_pb2_grpc.ContainersStub(channel)
    request = containers_pb2.ListContainersRequest()
    for found in containers.List(request, metadata=metadata, timeout=30).containers:
        print("container", found.id, found.image)
    images = images_pb2_grpc.ImagesStub(channel)
    for found in images.List(images_pb2.ListImagesRequest(), metadata=metadata, timeout=30).images:
        print("image", found.name)
    try:
        images.Get(images_pb2.GetImageRequest(name="absent"), metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        print("refused", error.code().name, error.details())
