"""The first span of a trace: what REST and gRPC calls say of themselves, and where their caller's trace goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from regrow.labeling.v1 import datasets_pb2, datasets_pb2_grpc
from services.common import tracing
from services.common.events import PREDICTIONS, events_from

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture
def ended() -> Iterator[Callable[[str], ReadableSpan]]:
    """A span by its name, once it has ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)

    def find(name: str) -> ReadableSpan:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for span in exporter.get_finished_spans():
                if f"{span.kind.name} {span.name}" == name:
                    return span
            time.sleep(0.01)
        raise AssertionError(f"no {name} among {[span.name for span in exporter.get_finished_spans()]}")

    yield find
    tracing.use(None)


def test_a_rest_call_goes_on_in_its_callers_trace_by_its_route_and_not_by_its_path(call, ended) -> None:
    assert call("GET", "/v1/projects/shop/datasets/d", headers=SENT).status_code == 200
    span = ended("SERVER GET /v1/{name=projects/*/datasets/*}")
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.route"] == "/v1/{name=projects/*/datasets/*}"
    assert span.attributes["url.scheme"] == "http"
    assert span.attributes["rpc.method"] == "regrow.labeling.v1.DatasetService/GetDataset"
    upstream = ended("CLIENT regrow.labeling.v1.DatasetService/GetDataset")
    assert upstream.parent.span_id == span.context.span_id


def test_a_grpc_call_is_traced_from_its_metadata_and_the_service_behind_goes_on(gateway, admin, ended) -> None:
    metadata = (("authorization", f"Bearer {admin}"), *SENT.items())
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = datasets_pb2_grpc.DatasetServiceStub(channel)
        stub.GetDataset(datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/d"), metadata=metadata)
    name = "regrow.labeling.v1.DatasetService/GetDataset"
    behind = ended(f"CLIENT {name}")
    assert f"{behind.context.trace_id:032x}" == TRACE
    assert "http.route" not in ended(f"SERVER {name}").attributes


def test_a_refused_call_says_why_by_its_reason_alone_and_is_no_fault_of_ours(http, ended) -> None:
    path = "/v1/projects/shop/datasets/d"
    assert http.get(path, headers={"authorization": "Bearer rg_secret", **SENT}).status_code == 401
    span = ended("SERVER GET /v1/{name=projects/*/datasets/*}")
    assert span.attributes["http.response.status_code"] == 401
    assert span.attributes["error.type"] == "UNAUTHENTICATED"
    assert span.status.status_code is StatusCode.UNSET and "rg_secret" not in span.to_json()


def test_a_prediction_is_in_the_log_with_its_calls_trace_and_request_id(call, world, ended) -> None:
    model = world.champion("traced")
    headers = {**SENT, "x-request-id": "traced-1"}
    answer = call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "free lunch"}]}, headers=headers)
    (prediction,) = answer.json()["predictions"]
    sent = ended("PRODUCER send regrow.predictions")
    found = _headers_of(world, prediction["predictionId"])
    assert found["ce_requestid"] == "traced-1"
    assert found["ce_traceparent"] == f"00-{TRACE}-{sent.context.span_id:016x}-01"
    assert sent.parent.span_id == ended("SERVER POST /v1/{name=projects/*/models/*}:predict").context.span_id


def test_where_tracing_is_off_an_event_still_carries_the_request_id(call, world) -> None:
    model = world.champion("untraced")
    headers = {**SENT, "x-request-id": "untraced-1"}
    answer = call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "free lunch"}]}, headers=headers)
    (prediction,) = answer.json()["predictions"]
    found = _headers_of(world, prediction["predictionId"])
    assert found["ce_requestid"] == "untraced-1" and "ce_traceparent" not in found


def _headers_of(world: Any, event_id: str) -> dict[str, str]:
    log = events_from(world.settings())
    consumer = log.consumer([PREDICTIONS])
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            for record in consumer.poll(timeout=timedelta(milliseconds=50)):
                if record.headers["ce_id"] == event_id:
                    return dict(record.headers)
    finally:
        consumer.close()
        log.close()
    raise AssertionError(f"{event_id} is not in the log")
