"""Every public rpc over gRPC, every field by its type made hostile: no crash, no hang, no error by accident, no leaked text."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from good_requests import METHODS, expected, focus, good_request, variants
from google.protobuf.message import Message
from hostile_strategies import messages
from hostile_system import PROJECT, System, services_below, unexpected
from hostile_values import hostile_requests
from hypothesis import HealthCheck, Phase, given, settings

from regrow.gateway.v1 import gateway_pb2
from regrow.rows import struct
from regrow.training.v1 import batch_predictions_pb2, runs_pb2
from services.gateway.methods import Method

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DEADLINE = 20.0
BY_ACCIDENT = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
}  # fmt: skip
STREAMS = sorted(path for path, method in METHODS.items() if method.streams_requests)
STARTS = tuple(f"/{name}]" for name in ("CreateRun", "CreateBatchPrediction", "TriggerRegrowth", "StartOperation"))
RAW = {
    "nothing": b"", "a cut field": b"\x0a\xff\xff\xff\x7f", "no wire type": b"\xff\xff\xff",
    "a group never ended": b"\x0b" * 200,
    "not UTF-8": b"\x0a\x04\xff\xfe\xfd\xfc", "a surrogate": b"\x0a\x03\xed\xa0\x80", "an unknown field": b"\xf2\x3f\x03abc",
    "another wire type": b"\x08\x01\x10\x01\x18\x01\x20\x01",
    "a long unknown field": b"\xf2\x3f\x80\x80\x40" + b"x" * (1 << 20),
    "nested for ever": b"\x12\xff\x01" * 400,
}  # fmt: skip


@pytest.fixture(scope="module")
def channel(system: System) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(system.local.grpc_address) as opened:
        yield opened


def call(channel: grpc.Channel, system: System, method: Method, *contents: bytes) -> tuple[grpc.StatusCode, str]:
    """The status and text of one call, with several messages where it is a stream; what streams back is read to its end."""
    kind = f"{'stream' if method.streams_requests else 'unary'}_{'stream' if method.streams_responses else 'unary'}"
    rpc = getattr(channel, kind)(method.path)
    metadata = (("authorization", f"Bearer {system.local.admin_key}"),)
    try:
        sent: Any = iter(contents) if method.streams_requests else contents[0]
        answer: Any = rpc(sent, timeout=DEADLINE, metadata=metadata)
        if method.streams_responses:
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def problem(code: grpc.StatusCode, text: str, system: System, request: Message) -> str:
    """What is wrong with an answer."""
    return f"{code.name} {text[:200]}" if code in BY_ACCIDENT else system.problem(text, sent=str(request))


@pytest.fixture(autouse=True)
def _no_work_is_left(system: System, request: pytest.FixtureRequest) -> Iterator[None]:
    """What hostile requests started, and was right, doesn't train on beside the tests that follow."""
    yield
    if not request.node.name.endswith(STARTS):
        return
    for run in system.client.runs.ListRuns.each(
        runs_pb2.ListRunsRequest(parent=PROJECT, filter="state = queued OR state = running")
    ):
        system.client.runs.CancelRun(runs_pb2.CancelRunRequest(name=run.name))
    scoring = batch_predictions_pb2.ListBatchPredictionsRequest(parent=PROJECT, filter="state = queued OR state = running")
    for batch in system.client.batch_predictions.ListBatchPredictions.each(scoring):
        cancel = batch_predictions_pb2.CancelBatchPredictionRequest(name=batch.name)
        system.client.batch_predictions.CancelBatchPrediction(cancel)


@pytest.mark.parametrize("path", sorted(METHODS))
def test_the_requests_that_hostile_ones_are_made_from_are_good(channel, system: System, path: str) -> None:
    method = METHODS[path]
    for variant in range(variants(method)):
        code, text = call(channel, system, method, good_request(method, system.names, variant).SerializeToString())
        assert code.name == expected(method), text


@pytest.mark.parametrize("path", sorted(METHODS))
def test_no_field_of_any_rpc_breaks_anything(channel, system: System, path: str) -> None:
    method = METHODS[path]
    problems: list[str] = []
    for variant in range(variants(method)):
        for what, request in hostile_requests(partial(good_request, method, system.names, variant), focus(variant)):
            code, text = call(channel, system, method, request.SerializeToString())
            if found := problem(code, text, system, request):
                problems.append(f"{what}: {found}")
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:15])


@pytest.mark.parametrize("path", sorted(METHODS))
def test_no_bytes_that_are_no_message_break_anything(channel, system: System, path: str) -> None:
    method = METHODS[path]
    for what, content in RAW.items():
        code, text = call(channel, system, method, content)
        assert code not in BY_ACCIDENT, (what, code, text)
        assert not system.problem(text), what


@pytest.mark.parametrize("path", sorted(METHODS))
def test_no_random_message_breaks_anything(channel, system: System, path: str, fuzz: int) -> None:
    method = METHODS[path]
    bounds = settings(
        max_examples=6 * fuzz, deadline=None, derandomize=fuzz == 1, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @bounds
    @given(messages(partial(good_request, method, system.names)))
    def ask(request: Message) -> None:
        code, text = call(channel, system, method, request.SerializeToString())
        assert not (found := problem(code, text, system, request)), found

    ask()


@pytest.mark.parametrize("path", STREAMS)
def test_no_later_message_breaks_a_stream(channel, system: System, path: str) -> None:
    method = METHODS[path]
    good = good_request(method, system.names).SerializeToString()
    later: dict[str, tuple[bytes, ...]] = {
        "nothing at all": (),
        "the same again": (good, good),
        "no message": (good, b"\xff\xff\xff"),
        "an empty one": (good, b""),
        "many empty ones": (good, *[b""] * 500),
        "a cut one": (good, good[:-1]),
        "another's": (good, b"\x0a\x0eprojects/others"),
    }
    for what, contents in later.items():
        code, text = call(channel, system, method, *contents)
        assert code not in BY_ACCIDENT, (what, code, text)
        assert not system.problem(text), what


@pytest.mark.parametrize("path", STREAMS)
def test_callers_who_leave_in_the_middle_hold_up_nobody(channel, system: System, path: str) -> None:
    method = METHODS[path]
    kind = "stream_stream" if method.streams_responses else "stream_unary"
    leave = threading.Event()

    def messages() -> Iterator[bytes]:
        yield good_request(method, system.names).SerializeToString()
        leave.wait(DEADLINE)

    metadata = (("authorization", f"Bearer {system.local.admin_key}"),)
    rpc = getattr(channel, kind)(path)
    calls = [
        (rpc if method.streams_responses else rpc.future)(messages(), timeout=DEADLINE, metadata=metadata) for _ in range(20)
    ]
    time.sleep(0.2)
    for one in calls:
        one.cancel()
    leave.set()
    code, text = call(channel, system, method, good_request(method, system.names).SerializeToString())
    assert code.name == expected(method), text


def test_a_message_over_the_limit_is_refused(channel, system: System) -> None:
    method = METHODS["/regrow.gateway.v1.PredictionService/Predict"]
    code, text = call(channel, system, method, b"\x12\x80\x80\x80\x08" + b"x" * (17 << 20))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, text


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "Bearer " + "x" * 20_000),), (("authorization", ""),), (("authorization", "Bearer rg_a_b"),),
        (("regrow-principal", "e30="), ("regrow-token", "x")), tuple((f"x-{n}", "y") for n in range(500)),
        (("x-request-id", "../../etc/passwd"),), (("traceparent", "00-" + "z" * 500),), (("grpc-timeout", "1n"),),
    ],
)  # fmt: skip
def test_odd_metadata_is_refused_or_ignored(channel, system: System, metadata: Any) -> None:
    rpc = channel.unary_unary("/regrow.gateway.v1.KeyService/GetCaller")
    with pytest.raises(grpc.RpcError) as failed:
        rpc(b"", timeout=DEADLINE, metadata=metadata)
    assert failed.value.code() not in BY_ACCIDENT - {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    assert not system.problem(failed.value.details() or "")


def test_afterwards_every_service_is_the_same_process_nothing_was_unforeseen_and_the_loop_works(system: System) -> None:
    row = {"text": "win free money", "likes": 3}
    answer = system.client.predict("mail", [row])
    assert list(answer.predictions[0].class_names) == ["spam"]
    feedback = gateway_pb2.Feedback(features=struct(row), class_names=["spam"])
    request = gateway_pb2.SendFeedbackRequest(parent=system.client.name("models", "mail"), feedback=feedback)
    assert system.client.feedback.SendFeedback(request).event_id
    status = system.client.system.GetStatus(gateway_pb2.GetStatusRequest())
    assert [(one.service, one.problem) for one in status.services if not one.ready] == []
    assert system.processes <= services_below(os.getpid())
    assert unexpected(system) == []
