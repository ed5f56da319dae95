"""Server reflection under both of its names: `grpc.reflection.v1`, which clients ask first, and `v1alpha`.

grpcio-reflection speaks v1alpha alone. The two differ in their package's name and in nothing on the wire, so v1 is the same
servicer, with a descriptor made from the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer as AsyncServicer

ALPHA = reflection.SERVICE_NAME
V1 = ALPHA.replace("v1alpha", "v1")


class _Pools:
    """Several descriptor pools as one: of each question, the answer of the first that has any. Raises `KeyError` for none.

    A service whose names others may register in protobuf's default pool has its messages in a pool of its own.
    """

    def __init__(self, *pools: DescriptorPool) -> None:
        self._pools = pools

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("Find"):
            raise AttributeError(name)
        return lambda *asked: self._first(name, asked)

    def FindAllExtensions(self, message: Any) -> Any:
        """Of the pool that the message is of: the others know none, which is an answer too."""
        return message.file.pool.FindAllExtensions(message)

    def _first(self, name: str, asked: tuple[Any, ...]) -> Any:
        for pool in self._pools:
            with suppress(KeyError):
                return getattr(pool, name)(*asked)
        raise KeyError(asked)


def enable_reflection(server: Any, services: Iterable[str], *, pools: Iterable[DescriptorPool] = ()) -> None:
    """Lets callers of a server, blocking or asyncio, read the descriptors of these services, health's and its own.

    `pools` are where the services' messages are that aren't in protobuf's default pool.
    """
    _describe_v1()
    names = (*services, health.SERVICE_NAME, ALPHA, V1)
    kind: Any = AsyncServicer if isinstance(server, grpc.aio.Server) else reflection.ReflectionServicer
    servicer = kind(names, _Pools(*pools, descriptor_pool.Default()))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler}),))


def _describe_v1() -> None:
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(V1)
    except KeyError:
        pool.Add(_v1_file())


def _v1_file() -> descriptor_pb2.FileDescriptorProto:
    """v1alpha's file under v1's names."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = file.name.replace("v1alpha", "v1"), file.package.replace("v1alpha", "v1")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace("v1alpha", "v1")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace("v1alpha", "v1")
        method.output_type = method.output_type.replace("v1alpha", "v1")
    return file
