"""Calls between services: who calls, errors, deadlines, retries; sync and asyncio."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from echo_service import TOKEN, Echo, Stub
from google.protobuf.wrappers_pb2 import StringValue

from services.common.errors import Busy, EngineUnavailable, NotFound
from services.common.rpc.client import RETRY_UNAVAILABLE, aio_internal_channel, call_metadata, calling, internal_channel
from services.common.rpc.principal import (
    Call,
    Principal,
    acting_as,
    current_principal,
    current_request_id,
    entered,
    seconds_left,
    service_principal,
)
from services.common.rpc.server import RunningServer
from services.common.rpc.status import InternalFailure

Serve = Callable[..., RunningServer]
ANNA = Principal(key_id="k1", role="editor", projects=("shop",), name="Anna")


@pytest.fixture
def server(start: Serve) -> RunningServer:
    return start()


@pytest.fixture
def stub(server: RunningServer) -> Iterator[Stub]:
    with internal_channel(f"127.0.0.1:{server.port}", token=TOKEN, service="echo") as channel:
        yield Stub(channel)


def _say(text: str) -> StringValue:
    return StringValue(value=text)


def test_a_service_calls_as_itself(stub: Stub) -> None:
    assert stub.Unary(_say("who")).value.startswith("internal service ")


def test_a_call_made_inside_a_call_keeps_its_request_id(stub: Stub) -> None:
    with acting_as(ANNA, "req-7"):
        assert stub.Unary(_say("who")).value == "internal service req-7"


def test_a_channel_can_call_for_whoever_called(server: RunningServer) -> None:
    with internal_channel(f"127.0.0.1:{server.port}", token=TOKEN, principal=current_principal) as channel:
        with acting_as(ANNA, "req-7"):
            assert Stub(channel).Unary(_say("who")).value == "Anna editor req-7"
        with pytest.raises(LookupError):
            Stub(channel).Unary(_say("who"))


def test_the_other_sides_error_is_raised_by_all_kinds_of_calls(stub: Stub) -> None:
    with pytest.raises(NotFound) as raised:
        stub.Unary(_say("missing"))
    assert raised.value.facts == {"kind": "dataset", "name": "projects/p/datasets/d"}
    with pytest.raises(NotFound):
        list(stub.List(_say("missing")))
    with pytest.raises(NotFound):
        stub.Upload(iter([_say("a"), _say("missing")]))
    with pytest.raises(NotFound):
        list(stub.Chat(iter([_say("missing")])))
    assert isinstance(stub.Unary.future(_say("missing")).exception(), NotFound)


def test_a_busy_service_says_when_to_come_back(stub: Stub) -> None:
    with pytest.raises(Busy) as raised:
        stub.Unary(_say("busy"))
    assert raised.value.retry_after == timedelta(seconds=7)


def test_streams_work_and_can_be_cancelled(stub: Stub, echo: Echo) -> None:
    assert [one.value for one in stub.Chat(iter([_say("a"), _say("b")]))] == ["A", "B"]
    assert stub.Upload(iter([_say("a"), _say("b")])).value == "A,B"
    stream = stub.List(_say("endless"))
    assert next(stream).value == "first"
    stream.cancel()
    assert echo.closed.wait(30)


def test_with_call_gives_the_response_and_the_call(stub: Stub) -> None:
    response, call = stub.Unary.with_call(_say("a"))
    assert (response.value, call.code()) == ("A", grpc.StatusCode.OK)


def test_unavailable_is_tried_again(stub: Stub, echo: Echo) -> None:
    echo.failures_left = 2
    assert stub.Unary(_say("flaky")).value == "FLAKY"
    assert echo.calls == 3


def test_four_tries_are_all(stub: Stub, echo: Echo) -> None:
    echo.failures_left = 9
    with pytest.raises(EngineUnavailable, match="echo can't be reached"):
        stub.Unary(_say("flaky"))
    assert echo.calls == RETRY_UNAVAILABLE["methodConfig"][0]["retryPolicy"]["maxAttempts"]


def test_what_has_waited_for_its_engine_is_not_tried_again(stub: Stub, echo: Echo) -> None:
    with pytest.raises(EngineUnavailable, match="the store doesn't answer") as raised:
        stub.Unary(_say("waited"))
    assert raised.value.retry_after == timedelta(seconds=3)
    assert echo.calls == 1


def test_no_other_error_is_tried_again(stub: Stub, echo: Echo) -> None:
    for text in ("missing", "secret", "busy"):
        with pytest.raises(Exception, match=r"."):
            stub.Unary(_say(text))
    assert echo.calls == 3


def test_a_call_has_a_deadline_by_default_and_can_choose_one(server: RunningServer, stub: Stub) -> None:
    assert 25 < float(stub.Unary(_say("left")).value) < 31
    assert float(stub.Unary(_say("left"), timeout=3).value) < 4
    hasty = internal_channel(f"127.0.0.1:{server.port}", token=TOKEN, service="echo", timeout=0.1)
    with hasty, pytest.raises(EngineUnavailable, match="in time"):
        Stub(hasty).Unary(_say("sleep"))


def test_an_inner_call_ends_before_its_caller_gives_up(stub: Stub) -> None:
    with entered(Call(request_id="r", principal=ANNA, deadline=time.monotonic() + 2)):
        assert seconds_left() is not None
        assert float(stub.Unary(_say("left")).value) < 2


def test_a_service_that_is_down_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    channel = internal_channel(f"127.0.0.1:{port}", token=TOKEN, service="labeling", service_config={})
    with channel, pytest.raises(EngineUnavailable, match="labeling can't be reached") as raised:
        Stub(channel).Unary(_say("a"))
    assert raised.value.facts == {"engine": "labeling"}
    assert str(port) not in raised.value.message


def test_a_wrong_token_between_services_is_not_blamed_on_the_user(server: RunningServer) -> None:
    channel = internal_channel(f"127.0.0.1:{server.port}", token="other", service="echo")
    with channel, pytest.raises(InternalFailure):
        Stub(channel).Unary(_say("a"))


def test_outside_a_call_there_is_no_principal_and_no_request_id() -> None:
    with pytest.raises(LookupError, match="call"):
        current_principal()
    assert current_request_id() == ""
    assert seconds_left() is None


def test_a_principal_enters_its_projects_only() -> None:
    assert ANNA.may_enter("shop") and not ANNA.may_enter("other")
    assert service_principal("training").may_enter("anything")


async def _aio(port: int) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with aio_internal_channel(f"127.0.0.1:{port}", TOKEN) as channel:
        stub = Stub(channel)
        seen["itself"] = (await stub.Unary(_say("who"))).value
        seen["forwarded"] = (await stub.Unary(_say("who"), metadata=call_metadata(ANNA, TOKEN, "req-3"))).value
        seen["stream"] = [one.value async for one in stub.List(_say("a"))]
        seen["chat"] = [one.value async for one in stub.Chat(iter([_say("a"), _say("b")]))]
        seen["upload"] = (await stub.Upload(iter([_say("a"), _say("b")]))).value
        seen["left"] = float((await stub.Unary(_say("left"))).value)
        seen["flaky"] = (await stub.Unary(_say("flaky"))).value
        for text in ("missing", "secret"):
            try:
                with calling("echo"):
                    await stub.Unary(_say(text))
            except Exception as error:
                seen[text] = error
    return seen


def test_the_asyncio_channel_does_the_same(server: RunningServer, echo: Echo) -> None:
    echo.failures_left = 2
    seen = asyncio.run(_aio(server.port))
    assert seen["itself"].startswith("gateway service ")
    assert seen["forwarded"] == "Anna editor req-3"
    assert seen["stream"] == ["first", "A"]
    assert (seen["chat"], seen["upload"], seen["flaky"]) == (["A", "B"], "A,B", "FLAKY")
    assert 25 < seen["left"] < 31
    assert isinstance(seen["missing"], NotFound)
    assert isinstance(seen["secret"], InternalFailure)
