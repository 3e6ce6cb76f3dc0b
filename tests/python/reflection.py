"""Asks a daemon for its services and for the file of one; argv: socket, namespace (not used)."""

import sys

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

requests = [
    reflection_pb2.ServerReflectionRequest(list_services=""),
    reflection_pb2.ServerReflectionRequest(file_containing_symbol="containerd.services.images.v1.Images"),
]
with grpc.insecure_channel(f"unix:{sys.argv[1]}") as channel:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    services, file = stub.ServerReflectionInfo(iter(requests), timeout=30)
    for service in services.list_services_response.service:
        print("service", service.name)
    files = file.file_descriptor_response.file_descriptor_proto
    print("file of containerd.services.images.v1.Images:", sum(map(len, files)), "bytes")
