"""A small service of all four kinds of handlers over StringValue: each does what its request says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from services.common.errors import Busy, EngineUnavailable, NotFound
from services.common.rpc.principal import current_principal, current_request_id, seconds_left

SERVICE = "test.v1.EchoService"
TOKEN = "a shared secret"
SECRET = "password=hunter2"


@dataclass
class Echo:
    """Handlers, and what they saw."""

    calls: int = 0
    failures_left: int = 0
    entered: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def answer(self, text: str, context: grpc.ServicerContext) -> str:
        self.calls += 1
        match text:
            case "who":
                return f"{current_principal().name} {current_principal().role} {current_request_id()}"
            case "secret":
                raise ValueError(SECRET)
            case "exit":
                raise SystemExit(SECRET)
            case "missing":
                raise NotFound("dataset", "projects/p/datasets/d", "Import one.")
            case "busy":
                raise Busy("Too many runs.", retry_after=timedelta(seconds=7))
            case "abort":
                context.abort(grpc.StatusCode.OUT_OF_RANGE, "the handler's own words")
            case "flaky" if self.failures_left:
                self.failures_left -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            case "waited":
                time.sleep(1.2)
                raise EngineUnavailable("objects", "the store doesn't answer", retry_after=timedelta(seconds=3))
            case "wait":
                self.entered.set()
                assert self.leave.wait(60)
            case "left":
                return str(seconds_left())
            case "sleep":
                time.sleep(1)
        return text.upper()

    def unary(self, request: StringValue, context: grpc.ServicerContext) -> StringValue:
        return StringValue(value=self.answer(request.value, context))

    def listing(self, request: StringValue, context: grpc.ServicerContext) -> Iterator[StringValue]:
        try:
            yield StringValue(value="first")
            if request.value == "endless":
                while True:
                    yield StringValue(value="more")
                    time.sleep(0.01)
            yield StringValue(value=self.answer(request.value, context))
        finally:
            self.closed.set()

    def upload(self, requests: Iterator[StringValue], context: grpc.ServicerContext) -> StringValue:
        return StringValue(value=",".join(self.answer(request.value, context) for request in requests))

    def chat(self, requests: Iterator[StringValue], context: grpc.ServicerContext) -> Iterator[StringValue]:
        for request in requests:
            yield StringValue(value=self.answer(request.value, context))

    def add_to(self, server: grpc.Server) -> None:
        codecs: dict[str, Any] = {
            "request_deserializer": StringValue.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, **codecs),
            "List": grpc.unary_stream_rpc_method_handler(self.listing, **codecs),
            "Upload": grpc.stream_unary_rpc_method_handler(self.upload, **codecs),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, **codecs),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class Stub:
    """What generated code would be: one callable for each method, on a sync or an asyncio channel."""

    def __init__(self, channel: Any) -> None:
        codecs = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
        self.Unary = channel.unary_unary(f"/{SERVICE}/Unary", **codecs)
        self.List = channel.unary_stream(f"/{SERVICE}/List", **codecs)
        self.Upload = channel.stream_unary(f"/{SERVICE}/Upload", **codecs)
        self.Chat = channel.stream_stream(f"/{SERVICE}/Chat", **codecs)
