"""Every public rpc over gRPC, every field by its type made hostile: no crash, no hang, no error by accident, no leaked text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import reduce
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hostile_strategies import messages
from hostile_system import System, services_below, unexpected
from hostile_values import hostile_requests
from hypothesis import HealthCheck, Phase, given, settings

from regrow.gateway.v1 import gateway_pb2
from regrow.rows import struct
from services.gateway.methods import Method, public_methods

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DEADLINE = 20.0
BY_ACCIDENT = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
}  # fmt: skip
REMOVES = ("Delete", "Revoke", "Retire", "Undelete", "Rotate")
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


def call(channel: grpc.Channel, system: System, method: Method, content: bytes) -> tuple[grpc.StatusCode, str]:
    """The status and text of one call; what streams back is read to its end."""
    kind = f"{'stream' if method.streams_requests else 'unary'}_{'stream' if method.streams_responses else 'unary'}"
    rpc = getattr(channel, kind)(method.path)
    metadata = (("authorization", f"Bearer {system.local.admin_key}"),)
    try:
        answer: Any = rpc(iter([content]) if method.streams_requests else content, timeout=DEADLINE, metadata=metadata)
        if method.streams_responses:
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def base_of(method: Method, system: System) -> Message:
    """A request about things that exist (but what is removed, or watched until it ends, doesn't)."""
    request = method.request()
    variable, _, pattern = method.bindings[0].template.partition("{")[2].partition("}")[0].partition("=")
    if not pattern:
        return request
    name = system.names.get(pattern) or pattern.replace("projects/*", "projects/default", 1).replace("*", "nobody")
    if method.name.startswith(REMOVES):
        name = pattern.replace("projects/*", "projects/nowhere" if pattern == "projects/*" else "projects/default", 1)
        name = name.replace("*", "nobody")
    *parents, field = variable.split(".")
    setattr(reduce(getattr, parents, request), field, name)
    return request


@pytest.mark.parametrize("path", sorted(public_methods()))
def test_no_field_of_any_rpc_breaks_anything(channel, system: System, path: str) -> None:
    method = public_methods()[path]
    problems: list[str] = []
    for what, request in hostile_requests(base_of(method, system)):
        content = request.SerializeToString()
        code, text = call(channel, system, method, content)
        if code in BY_ACCIDENT:
            problems.append(f"{what}: {code.name} {text[:200]}")
        if leak := system.problem(text, sent=str(request)):
            problems.append(f"{what}: {leak}")
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems[:15])


@pytest.mark.parametrize("path", sorted(public_methods()))
def test_no_bytes_that_are_no_message_break_anything(channel, system: System, path: str) -> None:
    method = public_methods()[path]
    for what, content in RAW.items():
        code, text = call(channel, system, method, content)
        assert code not in BY_ACCIDENT, (what, code, text)
        assert not system.problem(text), what


@pytest.mark.parametrize("path", sorted(public_methods()))
def test_no_random_message_breaks_anything(channel, system: System, path: str, fuzz: int) -> None:
    method = public_methods()[path]
    bounds = settings(
        max_examples=12 * fuzz, deadline=None, derandomize=fuzz == 1, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @bounds
    @given(messages(base_of(method, system)))
    def ask(request: Message) -> None:
        code, text = call(channel, system, method, request.SerializeToString())
        assert code not in BY_ACCIDENT, f"{code.name} {text[:200]}"
        assert not (leak := system.problem(text, sent=str(request))), leak

    ask()


def test_a_message_over_the_limit_is_refused(channel, system: System) -> None:
    method = public_methods()["/regrow.gateway.v1.PredictionService/Predict"]
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
