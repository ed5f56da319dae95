"""Traces of calls between services: parents and children, what a span says, and nothing where tracing is off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from echo_service import SECRET, TOKEN, Stub
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from services.common import tracing
from services.common.errors import NotFound
from services.common.rpc.client import aio_internal_channel, internal_channel
from services.common.rpc.principal import acting_as, current_call, service_principal
from services.common.rpc.server import RunningServer
from services.common.rpc.status import InternalFailure

Serve = Callable[..., RunningServer]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = tracing.TraceContext(request_id="req-1", traceparent=f"00-{TRACE}-{CALLER}-01")
METHOD = "test.v1.EchoService"


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """Every span that ended, by kind and name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield lambda: {f"{span.kind.name} {span.name}": span for span in exporter.get_finished_spans()}
    tracing.use(None)


@pytest.fixture
def server(start: Serve) -> RunningServer:
    return start()


@pytest.fixture
def stub(server: RunningServer) -> Iterator[Stub]:
    with internal_channel(f"127.0.0.1:{server.port}", token=TOKEN, service="echo") as channel:
        yield Stub(channel)


def _say(text: str) -> StringValue:
    return StringValue(value=text)


def _eventually(spans: Callable[[], dict[str, ReadableSpan]], name: str) -> ReadableSpan:
    """A server's span ends a moment after its caller has the answer."""
    import time

    deadline = time.monotonic() + 30
    while name not in spans() and time.monotonic() < deadline:
        time.sleep(0.005)
    return spans()[name]


def test_a_call_between_services_is_a_client_span_with_the_servers_span_below(stub: Stub, spans: Any) -> None:
    with tracing.caused_by(CONTEXT, "work"):
        assert stub.Unary(_say("who")).value == "internal service req-1"
    served = _eventually(spans, f"SERVER {METHOD}/Unary")
    work, call = spans()["INTERNAL work"], spans()[f"CLIENT {METHOD}/Unary"]
    assert {f"{span.context.trace_id:032x}" for span in (work, call, served)} == {TRACE}
    assert f"{work.parent.span_id:016x}" == CALLER
    assert (call.parent.span_id, served.parent.span_id) == (work.context.span_id, call.context.span_id)
    assert call.attributes == {
        "rpc.system.name": "grpc", "rpc.method": f"{METHOD}/Unary", "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1", "service.peer.name": "echo",
    }  # fmt: skip
    assert call.status.status_code is served.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("method", ["List", "Upload", "Chat"])
def test_a_stream_is_one_span_until_its_end(method: str, stub: Stub, spans: Any) -> None:
    with tracing.caused_by(CONTEXT, "work"):
        if method == "List":
            list(stub.List(_say("a")))
        elif method == "Upload":
            stub.Upload(iter([_say("a"), _say("b")]))
        else:
            list(stub.Chat(iter([_say("a"), _say("b")])))
    served, call = _eventually(spans, f"SERVER {METHOD}/{method}"), _eventually(spans, f"CLIENT {METHOD}/{method}")
    assert served.parent.span_id == call.context.span_id
    assert call.attributes["rpc.response.status_code"] == served.attributes["rpc.response.status_code"] == "OK"


def test_an_asyncio_call_is_traced_like_the_others(server: RunningServer, spans: Any) -> None:
    async def calls() -> None:
        async with aio_internal_channel(f"127.0.0.1:{server.port}", TOKEN) as channel:
            with tracing.caused_by(CONTEXT, "work"):
                await Stub(channel).Unary(_say("a"))
                with pytest.raises(grpc.aio.AioRpcError):
                    await Stub(channel).Chat(iter([_say("missing")])).read()
            await asyncio.sleep(0.05)

    asyncio.run(calls())
    well, ill = spans()[f"CLIENT {METHOD}/Unary"], spans()[f"CLIENT {METHOD}/Chat"]
    assert well.attributes["rpc.response.status_code"] == "OK"
    assert ill.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert ill.status.status_code is StatusCode.ERROR
    assert _eventually(spans, f"SERVER {METHOD}/Unary").parent.span_id == well.context.span_id


def test_a_callers_mistake_is_no_error_of_the_server_but_one_of_the_call(stub: Stub, spans: Any) -> None:
    with tracing.caused_by(CONTEXT, "work"), pytest.raises(NotFound):
        stub.Unary(_say("missing"))
    served, call = _eventually(spans, f"SERVER {METHOD}/Unary"), spans()[f"CLIENT {METHOD}/Unary"]
    assert served.attributes["error.type"] == "NOT_FOUND" and served.status.status_code is StatusCode.UNSET
    assert call.status.status_code is StatusCode.ERROR


def test_a_failure_is_an_error_without_its_text(stub: Stub, spans: Any) -> None:
    with tracing.caused_by(CONTEXT, "work"), pytest.raises(InternalFailure):
        stub.Unary(_say("secret"))
    served = _eventually(spans, f"SERVER {METHOD}/Unary")
    assert served.status.status_code is StatusCode.ERROR and served.attributes["error.type"] == "INTERNAL"
    for span in spans().values():
        assert SECRET not in span.to_json() and not span.events and not span.status.description


def test_a_trace_that_its_caller_does_not_record_is_passed_on_unrecorded(stub: Stub, spans: Any) -> None:
    unsampled = tracing.TraceContext(traceparent=f"00-{TRACE}-{CALLER}-00")
    with tracing.caused_by(unsampled, "work"):
        stub.Unary(_say("a"))
        assert current_call().span.traceparent.startswith(f"00-{TRACE}-")
        assert current_call().span.traceparent.endswith("-00")
    assert spans() == {}


def test_a_tracestate_of_another_system_is_passed_on(server: RunningServer, spans: Any) -> None:
    sent = {"traceparent": CONTEXT.traceparent, "tracestate": "vendor=1,other=x"}
    span = tracing.begin_serving(tracing.Arrived(name="GET /x", attributes={}, headers=sent), "x")
    assert dict(span.headers)["tracestate"] == "vendor=1,other=x"
    assert dict(span.headers)["traceparent"].startswith(f"00-{TRACE}-")


def test_without_a_call_at_hand_no_trace_begins(stub: Stub, spans: Any) -> None:
    stub.Unary(_say("a"))
    served = _eventually(spans, f"SERVER {METHOD}/Unary")
    assert served.parent is None and f"CLIENT {METHOD}/Unary" not in spans()


def test_where_tracing_is_off_calls_carry_the_request_id_alone(stub: Stub) -> None:
    assert not tracing.is_on()
    with tracing.caused_by(CONTEXT, "work"):
        assert current_call().span is None
        assert stub.Unary(_say("who")).value == "internal service req-1"
    with acting_as(service_principal("x"), "req-2"), tracing.step("part"):
        assert tracing.current_context() == tracing.TraceContext(request_id="req-2")


def test_a_ratio_of_zero_records_only_what_callers_record(stub: Stub, spans: Any) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    with tracing.caused_by(tracing.TraceContext(), "not recorded"):
        pass
    with tracing.caused_by(CONTEXT, "recorded"):
        pass
    assert [span.name for span in exporter.get_finished_spans()] == ["recorded"]


def test_no_service_imports_opentelemetry_while_tracing_is_off() -> None:
    program = (
        "import json, sys; from services.common import tracing; from services.common.rpc import server;"
        " from services.common.settings import CommonSettings;"
        " tracing.start_tracing('x', CommonSettings(internal_token='t'))();"
        " print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_childs_environment_carries_the_context_there_and_back() -> None:
    assert tracing.from_environment(tracing.to_environment(CONTEXT)) == CONTEXT
    assert tracing.to_environment(tracing.TraceContext()) == {}
    assert tracing.from_environment({"TRACEPARENT": "00-x", "REGROW_REQUEST_ID": "a b"}) == tracing.TraceContext()


def test_a_span_of_a_server_is_of_kind_server(stub: Stub, spans: Any) -> None:
    stub.Unary(_say("a"))
    assert _eventually(spans, f"SERVER {METHOD}/Unary").kind is SpanKind.SERVER
