"""A client that asks at a fixed rate whatever the answers do, without retries: what users see while a model is swapped.

An open loop: each request is sent at its own time, so a slow answer doesn't slow the next question, and latency is counted
from the moment the request was due.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from regrow.rows import struct

NO_RETRIES = (("grpc.enable_retries", 0),)
SECONDS_A_CALL = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request. Times in seconds since the first was due; `version` is empty where it failed."""

    due: float
    sent: float
    done: float
    version: int
    problem: str

    @property
    def latency(self) -> float:
        """Seconds from when it was due."""
        return self.done - self.due


class OpenLoop:
    """Asks from a thread of its own inside a `with` block; `answers` are complete after it."""

    def __init__(
        self, address: str, key: str, model: str, rows: Sequence[Mapping[str, Any]], *, per_second: float = 50.0
    ) -> None:
        self.answers: list[Answer] = []
        self._address, self._metadata = address, (("authorization", f"Bearer {key}"),)
        self._requests = [gateway_pb2.PredictRequest(name=model, rows=[struct(row)]) for row in rows]
        self._gap = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="open-loop", daemon=True)

    def __enter__(self) -> OpenLoop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=NO_RETRIES) as channel:
            await channel.channel_ready()
            stub = gateway_pb2_grpc.PredictionServiceStub(channel)  # type: ignore[no-untyped-call]
            begun, running, number = time.monotonic(), set(), 0
            while not self._stop.is_set():
                due = number * self._gap
                await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
                task = asyncio.create_task(self._ask(stub, self._requests[number % len(self._requests)], begun, due))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
            await asyncio.gather(*running)

    async def _ask(self, stub: Any, request: gateway_pb2.PredictRequest, begun: float, due: float) -> None:
        sent, version, problem = time.monotonic() - begun, 0, ""
        try:
            answer = await stub.Predict(request, metadata=self._metadata, timeout=SECONDS_A_CALL)
            version = int(answer.version.rpartition("/")[2])
        except grpc.aio.AioRpcError as error:
            problem = f"{error.code().name}: {error.details()}"
        self.answers.append(Answer(due=due, sent=sent, done=time.monotonic() - begun, version=version, problem=problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the answers say. `stale`: requests sent after an answer of a newer version had arrived, yet answered by an older."""

    requests: int
    failures: tuple[str, ...]
    p50: float
    p99: float
    worst: float
    versions: tuple[tuple[int, float, float, int], ...]
    """Version, seconds of its first and its last answer, answers."""
    stale: int


def verdict(answers: Sequence[Answer]) -> Verdict:
    """Judges a finished loop."""
    good = [one for one in answers if not one.problem]
    latencies = np.array([one.latency for one in good]) if good else np.zeros(1)
    seen = sorted({one.version for one in good})
    spans = []
    for version in seen:
        done = [one.done for one in good if one.version == version]
        spans.append((version, min(done), max(done), len(done)))
    return Verdict(
        requests=len(answers), failures=tuple(one.problem for one in answers if one.problem),
        p50=float(np.quantile(latencies, 0.5)), p99=float(np.quantile(latencies, 0.99)), worst=float(latencies.max()),
        versions=tuple(spans), stale=_stale(good),
    )  # fmt: skip


def _stale(good: Sequence[Answer]) -> int:
    first_seen = {version: min(one.done for one in good if one.version == version) for version in {one.version for one in good}}
    return sum(any(one.sent > first_seen[newer] for newer in first_seen if newer > one.version) for one in good)


def only_ever_newer(versions: Sequence[tuple[int, float, float, int]]) -> bool:
    """Whether versions came into sight in their order."""
    return all(before[1] <= after[1] for before, after in pairwise(versions))
