"""A collector of OpenTelemetry's own protocol: a gRPC server of `TraceService` that keeps every span it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One span, as far as tests look at it."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    text: str


@dataclass(slots=True)
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What arrived so far. `endpoint` is what exporters are told."""

    endpoint: str = ""
    received: list[Received] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = [
            _read(span, _plain(resource.resource.attributes)["service.name"])
            for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]  # fmt: skip
        with self._changed:
            self.received += found
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def trace(self, trace: str, until: Callable[[list[Received]], bool], seconds: float = 30.0) -> list[Received]:
        """The spans of a trace once they are enough, or what came of them within the time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not until(spans := [span for span in self.received if span.trace == trace]):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            return spans


@contextmanager
def collector() -> Iterator[Collector]:
    server, made = grpc.server(ThreadPoolExecutor(4)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)
    made.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(0).wait()


def _read(span: Any, service: str) -> Received:
    return Received(
        service=service, name=span.name, trace=span.trace_id.hex(), id=span.span_id.hex(), parent=span.parent_span_id.hex(),
        attributes=_plain(span.attributes), text=str(span),
    )  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
