"""As much of grpcurl as README's examples use: it knows nothing of the API but what the server's reflection tells.

grpcurl -plaintext [-H 'name: value']... [-d JSON] host:port list | describe SYMBOL | package.Service/Method
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2 as pb

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class Server:
    """A server, seen through its reflection alone."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._pool = descriptor_pool.DescriptorPool()
        self._known: set[str] = set()

    def services(self) -> list[str]:
        """Names of all services."""
        return [one.name for one in self._ask(pb.ServerReflectionRequest(list_services="*")).list_services_response.service]

    def describe(self, symbol: str) -> Any:
        """The descriptor of a message, a service or a method."""
        self._learn(symbol)
        for find in (self._pool.FindMessageTypeByName, self._pool.FindServiceByName, self._pool.FindMethodByName):
            try:
                return find(symbol)
            except KeyError:
                continue
        raise LookupError(f"the server doesn't know {symbol}")

    def call(self, path: str, body: str, metadata: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Calls `package.Service/Method` and answers its messages as JSON has them."""
        service, _, name = path.rpartition("/")
        method = self.describe(service).methods_by_name[name]
        request = json_format.Parse(
            body or "{}", message_factory.GetMessageClass(method.input_type)(), descriptor_pool=self._pool
        )
        answer = message_factory.GetMessageClass(method.output_type)
        kind = "unary_stream" if method.server_streaming else "unary_unary"
        stub = getattr(self._channel, kind)(
            f"/{path}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString
        )
        found = stub(request, metadata=metadata, timeout=30)
        messages = found if method.server_streaming else [found]
        return [self._shown(one) for one in messages]

    def _shown(self, message: Any) -> dict[str, Any]:
        """As JSON has it; types inside an Any are asked for as they come up."""
        while True:
            try:
                return json_format.MessageToDict(message, descriptor_pool=self._pool)
            except (TypeError, json_format.Error) as error:
                unknown = re.search(r"type\.googleapis\.com/([\w.]+)", str(error))
                if unknown is None or not self._learn(unknown[1]):
                    raise

    def _learn(self, symbol: str) -> bool:
        """Whether anything was new."""
        before = len(self._known)
        answer = self._ask(pb.ServerReflectionRequest(file_containing_symbol=symbol))
        if answer.HasField("error_response"):
            raise LookupError(answer.error_response.error_message)
        files = map(descriptor_pb2.FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        left = {file.name: file for file in files}
        for name in list(left):
            self._add(name, left)
        return len(self._known) > before

    def _add(self, name: str, left: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
        """Adds a file behind those that it needs."""
        if name not in self._known:
            self._known.add(name)
            for dependency in left[name].dependency:
                self._add(dependency, left)
            self._pool.Add(left[name])

    def _ask(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        call = self._channel.stream_stream(
            REFLECTION,
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        return next(call(iter([request]), timeout=30))


def run(words: list[str]) -> str:
    """Runs a command line behind the word grpcurl, and answers what it prints. Raises `RpcError`, `LookupError`."""
    metadata, body, rest = _read(words)
    with grpc.insecure_channel(rest[0]) as channel:
        server = Server(channel)
        match rest[1:]:
            case ["list"]:
                return "\n".join(server.services())
            case ["describe", symbol]:
                found = server.describe(symbol)
                return "\n".join([found.full_name, *(f"  {one.name}" for one in getattr(found, "fields", []))])
            case [path]:
                return "\n".join(json.dumps(one) for one in server.call(path, body, metadata))
    raise ValueError(f"grpcurl doesn't understand {words}")


def _read(words: list[str]) -> tuple[list[tuple[str, str]], str, list[str]]:
    metadata, body, rest = [], "", []
    left: Iterator[str] = iter(words)
    for word in left:
        if word == "-H":
            name, _, value = next(left).partition(": ")
            metadata.append((name.lower(), value))
        elif word == "-d":
            body = next(left)
        elif word != "-plaintext":
            rest.append(word)
    return metadata, body, rest
