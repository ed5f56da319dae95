"""The gateway passes on which engines its services miss."""

from __future__ import annotations

import asyncio

from gateway_world import TOKEN

from services.common.errors import EngineUnavailable
from services.common.rpc.server import serve
from services.gateway.upstreams import Upstreams


def asked(address: str) -> str:
    async def ask() -> str:
        upstreams = Upstreams({"labeling": address}, TOKEN)
        try:
            return (await upstreams.problems())["labeling"]
        finally:
            await upstreams.close()

    return asyncio.run(ask())


def away() -> None:
    raise EngineUnavailable("events", "Kafka at 10.0.0.7:9092 doesn't answer")


def test_a_service_that_misses_an_engine_is_told_with_the_engine_and_the_reason() -> None:
    for engines in ({"ready": {"events": away}}, {"ready": {}, "uses": {"events": away}}):
        server = serve(
            name="labeling", address="127.0.0.1:0", add_servicers=lambda _: None, services=[], internal_token=TOKEN, **engines
        )
        problem = asked(f"127.0.0.1:{server.port}")
        server.stop(0)
        assert problem.startswith("events can't be reached: Kafka at 10.0.0.7:9092 doesn't answer")


def test_a_service_that_is_gone_is_told_as_that() -> None:
    assert asked("127.0.0.1:1") == "labeling doesn't answer."
