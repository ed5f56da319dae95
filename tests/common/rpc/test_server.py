"""What a server does around its handlers, and how it comes and goes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from echo_service import SECRET, SERVICE, TOKEN, Echo, Stub
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from services.common.errors import EngineUnavailable, FailedPrecondition
from services.common.rpc.principal import Principal, call_metadata, encode
from services.common.rpc.readiness import read_missing
from services.common.rpc.server import MAX_MESSAGE_BYTES, RunningServer
from services.common.rpc.status import detail, from_rpc_error, status_of

Serve = Callable[..., RunningServer]
ANNA = Principal(key_id="k1", role="editor", projects=("shop",), name="Anna Å 🌱")
SAID = call_metadata(ANNA, TOKEN, "req-1")


@pytest.fixture
def channel(start: Serve) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{start().port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Stub:
    return Stub(channel)


def _four(stub: Stub, text: str, metadata: Any = SAID) -> list[Callable[[], Any]]:
    one = StringValue(value=text)
    return [
        lambda: stub.Unary(one, metadata=metadata),
        lambda: list(stub.List(one, metadata=metadata)),
        lambda: stub.Upload(iter([one]), metadata=metadata),
        lambda: list(stub.Chat(iter([one]), metadata=metadata)),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_all_kinds_of_handlers_know_who_calls_and_the_request_id(stub: Stub, kind: int) -> None:
    answer = _four(stub, "who")[kind]()
    last = answer[-1] if isinstance(answer, list) else answer
    assert last.value == "Anna Å 🌱 editor req-1"


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("text", ["secret", "exit"])
def test_the_text_of_an_unknown_exception_never_leaves(stub: Stub, kind: int, text: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _four(stub, text)[kind]()
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    told = f"{raised.value.details()} {raised.value.trailing_metadata()} {status_of(raised.value)}"
    assert SECRET not in told
    assert "Error" not in told.replace("ErrorInfo", "")
    info = detail(status_of(raised.value), error_details_pb2.ErrorInfo())
    assert info.metadata["error_id"] in (raised.value.details() or "")


@pytest.mark.parametrize("kind", range(4))
def test_an_error_of_the_tree_arrives_with_its_details(stub: Stub, kind: int) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _four(stub, "missing")[kind]()
    status = status_of(raised.value)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert detail(status, error_details_pb2.ErrorInfo()).metadata["name"] == "projects/p/datasets/d"
    assert detail(status, error_details_pb2.RequestInfo()).request_id == "req-1"


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize(
    "metadata",
    [
        (),
        call_metadata(ANNA, "wrong", "r"),
        call_metadata(ANNA, "", "r"),
        (("regrow-token", TOKEN),),
        (("regrow-token", TOKEN), ("regrow-principal", "bm90IGpzb24=")),
        (("regrow-token", TOKEN), ("regrow-principal", encode(Principal(key_id="k", role="root", name="")))),  # type: ignore[arg-type]
    ],
    ids=["nothing", "wrong token", "empty token", "no principal", "no json", "unknown role"],
)
def test_a_call_without_token_and_principal_is_refused(stub: Stub, echo: Echo, kind: int, metadata: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _four(stub, "who", metadata)[kind]()
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert echo.calls == 0


def test_a_handlers_own_abort_passes(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.Unary(StringValue(value="abort"), metadata=SAID)
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.OUT_OF_RANGE, "the handler's own words")


def test_a_strange_request_id_is_replaced(stub: Stub) -> None:
    answer = stub.Unary(StringValue(value="who"), metadata=call_metadata(ANNA, TOKEN, "no spaces, please"))
    assert "no spaces" not in answer.value


def test_a_caller_that_leaves_a_stream_ends_its_handler(stub: Stub, echo: Echo) -> None:
    stream = stub.List(StringValue(value="endless"), metadata=SAID)
    next(stream)
    stream.cancel()
    assert echo.closed.wait(30)


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    call = channel.unary_unary(f"/{SERVICE}/Nothing", StringValue.SerializeToString, StringValue.FromString)
    with pytest.raises(grpc.RpcError) as raised:
        call(StringValue(), metadata=SAID)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def _health(port: int, service: str = SERVICE) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def _becomes(expected: int, look: Callable[[], int]) -> bool:
    deadline = time.monotonic() + 30
    while look() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return look() == expected


def test_health_follows_ready_and_needs_no_token(start: Serve) -> None:
    problems: list[Exception] = []

    def check() -> None:
        if problems:
            raise problems[0]

    port = start(ready={"objects": check}, ready_every=0.02).port
    assert _health(port) == _health(port, "") == health_pb2.HealthCheckResponse.SERVING
    problems.append(EngineUnavailable("objects", "it is away"))
    assert _becomes(health_pb2.HealthCheckResponse.NOT_SERVING, lambda: _health(port))
    problems[0] = RuntimeError("a bug in the check")
    assert _becomes(health_pb2.HealthCheckResponse.NOT_SERVING, lambda: _health(port, ""))
    problems.clear()
    assert _becomes(health_pb2.HealthCheckResponse.SERVING, lambda: _health(port))


def test_health_tells_which_engines_are_missing_and_serves_without_those_that_it_can_spare(start: Serve) -> None:
    away = {"events": True, "database": False}

    def check(engine: str) -> None:
        if away[engine]:
            raise EngineUnavailable(engine, "nobody listens at 10.0.0.7")

    def asked() -> tuple[int, dict[str, str]]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            answer, call = check.with_call(health_pb2.HealthCheckRequest(), timeout=30)
            return answer.status, read_missing(call.trailing_metadata())

    checks = {engine: partial(check, engine) for engine in away}
    port = start(ready={"database": checks["database"]}, uses={"events": checks["events"]}, ready_every=0.02).port
    status, missing = asked()
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert missing.keys() == {"events"}
    assert "10.0.0.7" in missing["events"]
    away["database"] = True
    assert _becomes(health_pb2.HealthCheckResponse.NOT_SERVING, lambda: asked()[0])
    assert asked()[1].keys() == {"events", "database"}
    away.update(events=False, database=False)
    assert _becomes(health_pb2.HealthCheckResponse.SERVING, lambda: asked()[0])
    assert asked()[1] == {}


def test_health_can_be_watched(start: Serve) -> None:
    server = start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        updates = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30)
        assert next(updates).status == health_pb2.HealthCheckResponse.SERVING
        threading.Thread(target=server.stop, args=(1,)).start()
        assert next(updates).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask])))
    assert SERVICE in {service.name for service in answer.list_services_response.service}


def test_a_drain_lets_a_running_call_finish_and_takes_no_new_one(start: Serve, echo: Echo) -> None:
    order: list[str] = []
    server = start(on_stop=lambda: order.append("closed"), on_drain=lambda: order.append("drain"))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        running = Stub(channel).Unary.future(StringValue(value="wait"), metadata=SAID)
        assert echo.entered.wait(30)
        stopping = threading.Thread(target=server.stop, args=(60,))
        stopping.start()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as late, pytest.raises(grpc.RpcError) as refused:
            while True:
                Stub(late).Unary(StringValue(value="late"), metadata=SAID, timeout=30)
        assert order == ["drain"]
        echo.leave.set()
        assert running.result(timeout=30).value == "WAIT"
        stopping.join(30)
    assert isinstance(from_rpc_error(refused.value), EngineUnavailable)  # UNAVAILABLE, or CANCELLED just as the server closed
    assert server.wait(0)
    assert order == ["drain", "closed"]


def test_a_call_that_outlasts_the_grace_is_cut(start: Serve, echo: Echo) -> None:
    server = start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        running = Stub(channel).Unary.future(StringValue(value="wait"), metadata=SAID)
        assert echo.entered.wait(30)
        server.stop(0.05)
        assert running.exception(timeout=30) is not None


PROGRAM = """
import sys, time
sys.path.insert(0, {folder!r})
from echo_service import Echo, SERVICE, TOKEN
from services.common.rpc.server import run_forever, serve
from services.common.telemetry import configure_logging
configure_logging("echo")
echo = Echo()
server = serve(name="echo", address="127.0.0.1:0", add_servicers=echo.add_to, services=[SERVICE], internal_token=TOKEN,
               ready={{}}, on_stop=lambda: print("closed", flush=True))
print(server.port, flush=True)
run_forever(server, grace=10)
print("ended", flush=True)
"""


@pytest.mark.slow
def test_sigterm_drains_the_process_and_its_log_lines_are_json() -> None:
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    port = int(process.stdout.readline())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = Stub(channel)
        stub.Unary(StringValue(value="hello"), metadata=SAID)
        with pytest.raises(grpc.RpcError):
            stub.Unary(StringValue(value="secret"), metadata=SAID)
        slow = stub.Unary.future(StringValue(value="sleep"), metadata=SAID)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert slow.result(timeout=30).value == "SLEEP"
    assert process.stdout.read() == "closed\nended\n"
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    first = next(line for line in lines if line["event"] == "rpc")
    assert (first["service"], first["method"], first["code"]) == ("echo", f"{SERVICE}/Unary", "OK")
    assert (first["request_id"], first["key_id"]) == ("req-1", "k1")
    unexpected = next(line for line in lines if line["event"] == "unexpected")
    assert SECRET in unexpected["exception"] and unexpected["error_id"]
    assert TOKEN not in str(lines)


def test_an_address_in_use_names_the_port_and_who_has_it(start: Serve) -> None:
    port = start().port
    with pytest.raises(FailedPrecondition, match=f"Port {port} is in use by process") as raised:
        start(address=f"127.0.0.1:{port}")
    assert raised.value.reason == "ADDRESS_IN_USE"
    assert "python" in raised.value.facts["holder"]


def test_a_host_of_another_machine_is_told(start: Serve) -> None:
    with pytest.raises(FailedPrecondition, match=r"203\.0\.113\.9"):
        start(address="203.0.113.9:7071")


def test_a_server_without_token_does_not_start(start: Serve) -> None:
    with pytest.raises(FailedPrecondition, match="REGROW_INTERNAL_TOKEN"):
        start(internal_token="")


def test_metrics_count_calls_by_code_and_never_by_what_callers_choose(start: Serve) -> None:
    server = start(name="counted")
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = Stub(channel)
        stub.Unary(StringValue(value="a"), metadata=SAID)
        for text in ("missing", "secret", "abort"):
            with pytest.raises(grpc.RpcError):
                stub.Unary(StringValue(value=text), metadata=SAID)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/made.up/Name", StringValue.SerializeToString, StringValue.FromString)(StringValue())
    text = generate_latest().decode()
    for code in ("OK", "NOT_FOUND", "INTERNAL", "OUT_OF_RANGE"):
        assert f'regrow_rpc_requests_total{{code="{code}",method="{SERVICE}/Unary",service="counted"}} 1.0' in text
    assert f'regrow_rpc_seconds_count{{method="{SERVICE}/Unary",service="counted"}} 4.0' in text
    assert "made.up" not in text


def test_the_metrics_port_is_served_and_given_back(start: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        with pytest.raises(FailedPrecondition, match=f"Port {port}"):
            start(metrics_address=f"127.0.0.1:{port}")
    server = start(metrics_address=f"127.0.0.1:{port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"regrow_rpc_running" in answer.read()
    server.stop(0)
    start(metrics_address=f"127.0.0.1:{port}")


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_as_large_as_what_it_unpacks_to(start, echo, compression) -> None:
    server = start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(MAX_MESSAGE_BYTES + 1), compression=compression, timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert echo.calls == 0
