"""Batches on an event loop, with bundles that take as long as the test says, and with a real one."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway_world import tiny_bundle
from google.protobuf.struct_pb2 import Struct

from regrow.rows import struct
from services.common.bundle import Bundle, Input, Predictions, Request, Warning
from services.common.bundle.values import Columns
from services.common.errors import Busy, Cancelled, DeadlineExceeded, InvalidField
from services.common.objects import DirectoryStore
from services.common.rpc.principal import Call, entered
from services.gateway.calls import ClientGone
from services.gateway.inference.aliases import Target
from services.gateway.inference.batching import Batches
from services.gateway.inference.loading import Loaded
from services.gateway.inference.memory import Weight
from services.gateway.inference.rows import StructRows
from services.gateway.inference.window import Window

LONG = 30.0
Work = Callable[[Batches], Awaitable[Any]]


class Values:
    """A call's rows: a number each."""

    def __init__(self, *values: Any) -> None:
        self._values = values
        self.size = 100

    def __len__(self) -> int:
        return len(self._values)

    def read(self, inputs: Sequence[Input]) -> tuple[Columns, list[list[Warning]]]:
        for i, value in enumerate(self._values):
            if not isinstance(value, float):
                raise InvalidField(f"rows[{i}].x", "is not a number.")
        return {"x": np.array(self._values)}, [[] for _ in self._values]

    def beside(self, others: Sequence[Any]) -> None: ...

    def features(self) -> Sequence[Struct]:
        return []


@dataclass
class NoInputs:
    inputs: tuple[Input, ...] = ()


class SlowBundle:
    """Answers each row's `x`, once `gate` is open, or after `seconds`. `batches` tells what was computed together."""

    manifest = NoInputs()

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[float]] = []
        self.running, self.most_running, self.lock = 0, 0, threading.Lock()

    def predict_columns(
        self, columns: Columns, warnings: list[list[Warning]], go_on: Callable[[], bool] | None = None
    ) -> Predictions:
        return self.answer([Request(columns=columns, warnings=warnings)], go_on)[0]

    def answer(self, requests: Sequence[Request], go_on: Callable[[], bool] | None = None) -> list[Predictions]:
        with self.lock:
            self.batches.append([float(x) for request in requests for x in request.columns["x"]])
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        if any(x < 0 for x in self.batches[-1]):
            self.running -= 1
            raise ValueError("secret")
        deadline = time.monotonic() + LONG
        while not self.gate.wait(0.005) and time.monotonic() < deadline:
            if go_on is not None and not go_on():
                self.running -= 1
                raise Cancelled("Nobody waits.")
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
        return [_answered(request.columns["x"]) for request in requests]


def _answered(values: Any) -> Predictions:
    return Predictions(
        probabilities=np.asarray(values)[:, None], classes=[[str(x)] for x in values], warnings=[[] for _ in values]
    )


def loaded(bundle: Any, *, most_rows: int = 64) -> Loaded:
    return Loaded(
        target=Target(name="projects/p/models/m/versions/1", digest="d"), bundle=bundle, example={}, loaded=datetime.now(UTC),
        class_of={}, window=Window(most_rows=most_rows), weight=Weight(own=1, shared={}),
    )  # fmt: skip


def run(work: Work, *, threads: int = 1, backlog: int = 100, per_model: int = 1) -> Any:
    async def inside() -> Any:
        batches = Batches(threads=threads, backlog=backlog, per_model=per_model)
        try:
            return await work(batches)
        finally:
            batches.close()

    return asyncio.run(inside())


def ask(batches: Batches, version: Loaded, *values: Any, deadline: float | None = None) -> asyncio.Task[Predictions]:
    return asyncio.ensure_future(batches.compute(version, Values(*values), deadline=deadline))


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not check():  # noqa: ASYNC110 (what it waits for happens in threads)
            await asyncio.sleep(0.005)


def test_calls_that_wait_for_a_thread_are_computed_together_and_each_gets_its_own() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> list[Predictions]:
        version = loaded(bundle)
        first = ask(batches, version, 0.0)
        await until(lambda: bundle.running == 1)
        others = [ask(batches, version, float(n), n + 0.5) for n in range(1, 8)]
        await until(lambda: batches.waiting(version) == 7)
        bundle.gate.set()
        return list(await asyncio.gather(first, *others))

    answers = run(work)
    assert [len(batch) for batch in bundle.batches] == [1, 14]
    assert [one.classes for one in answers[1:]] == [[[str(float(n))], [str(n + 0.5)]] for n in range(1, 8)]


def test_one_is_the_limit_where_calls_are_never_to_be_computed_together() -> None:
    bundle = SlowBundle()

    async def work(batches: Batches) -> None:
        version = loaded(bundle, most_rows=1)
        await asyncio.gather(*(ask(batches, version, float(n)) for n in range(10)))

    run(work)
    assert [len(batch) for batch in bundle.batches] == [1] * 10


def test_a_value_that_cant_be_read_fails_its_own_call_alone_and_names_its_own_row() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> list[Any]:
        version = loaded(bundle)
        calls = [ask(batches, version, 0.0)]
        await until(lambda: bundle.running == 1)
        calls += [ask(batches, version, 1.0), ask(batches, version, 2.0, "x"), ask(batches, version, 3.0)]
        await until(lambda: batches.waiting(version) == 3)
        bundle.gate.set()
        return list(await asyncio.gather(*calls, return_exceptions=True))

    _, one, wrong, three = run(work)
    assert (one.classes, three.classes) == ([["1.0"]], [["3.0"]])
    assert isinstance(wrong, InvalidField) and wrong.problems[0].field == "rows[1].x"


def test_a_row_that_breaks_the_model_breaks_no_other_call() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> list[Any]:
        version = loaded(bundle)
        calls = [ask(batches, version, 0.0)]
        await until(lambda: bundle.running == 1)
        calls += [ask(batches, version, 1.0), ask(batches, version, -1.0), ask(batches, version, 3.0)]
        await until(lambda: batches.waiting(version) == 3)
        bundle.gate.set()
        return list(await asyncio.gather(*calls, return_exceptions=True))

    _, one, broken, three = run(work)
    assert (one.classes, three.classes) == ([["1.0"]], [["3.0"]])
    assert isinstance(broken, ValueError)


def test_a_full_queue_refuses_with_a_time_to_come_back_and_takes_calls_again_when_it_is_shorter() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)
        calls = [ask(batches, version, 0.0)]
        await until(lambda: bundle.running == 1)
        calls += [ask(batches, version, float(n)) for n in range(3)]
        await until(lambda: batches.waiting(version) == 3)
        with pytest.raises(Busy) as refused:
            await ask(batches, version, 9.0)
        assert refused.value.retry_after.total_seconds() >= 1
        bundle.gate.set()
        await asyncio.gather(*calls)
        assert (await ask(batches, version, 9.0)).classes == [["9.0"]]

    run(work, backlog=3)


def test_a_call_that_leaves_gives_its_place_back_and_isnt_computed() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)
        first = ask(batches, version, 0.0)
        await until(lambda: bundle.running == 1)
        leaving, staying = ask(batches, version, 1.0), ask(batches, version, 2.0)
        await until(lambda: batches.waiting(version) == 2)
        leaving.cancel()
        await until(lambda: batches.waiting(version) == 1)
        again = ask(batches, version, 3.0)
        await until(lambda: batches.waiting(version) == 2)
        bundle.gate.set()
        await asyncio.gather(first, staying, again)
        assert leaving.cancelled()

    run(work, backlog=2)
    assert bundle.batches == [[0.0], [2.0, 3.0]]


def test_a_caller_over_rest_that_is_gone_frees_its_place_too() -> None:
    bundle, left = SlowBundle(), asyncio.Event()
    bundle.gate.clear()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)

        async def gone() -> None:
            await left.wait()

        with entered(Call(request_id="r", gone=gone)):
            leaving = ask(batches, version, 0.0)
        await until(lambda: bundle.running == 1)
        with entered(Call(request_id="r", gone=gone)):
            waiting = ask(batches, version, 1.0)
        await until(lambda: batches.waiting(version) == 1)
        left.set()
        for call in (leaving, waiting):
            with pytest.raises(ClientGone):
                await call
        assert batches.waiting(version) == 0
        bundle.gate.set()

    run(work)
    assert bundle.batches == [[0.0]]


def test_a_large_call_that_nobody_waits_for_ends_before_it_is_done() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)
        large = ask(batches, version, *map(float, range(500)))
        await until(lambda: bundle.running == 1)
        large.cancel()
        await until(lambda: bundle.running == 0)
        bundle.gate.set()
        assert (await ask(batches, version, 1.0)).classes == [["1.0"]]

    run(work)


def test_what_cant_come_in_time_is_refused_before_it_is_computed() -> None:
    bundle = SlowBundle()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)
        for rows in (1, 2, 4):
            version.window.measured(rows, 0.5 * rows, time.monotonic())
        with pytest.raises(DeadlineExceeded) as refused:
            await ask(batches, version, *map(float, range(100)), deadline=time.monotonic() + 10.0)
        assert "50 seconds" in refused.value.message
        await ask(batches, version, 1.0, deadline=time.monotonic() + 10.0)

    run(work)
    assert bundle.batches == [[1.0]]


def test_a_large_call_is_expected_to_take_as_long_as_one_batch_and_not_as_many_small_ones() -> None:
    bundle = SlowBundle()

    async def work(batches: Batches) -> None:
        version = loaded(bundle, most_rows=4)
        for rows in (1, 2, 4):
            version.window.measured(rows, 1.0 + 0.001 * rows, time.monotonic())  # a batch costs a second, however large
        await ask(batches, version, *map(float, range(100)), deadline=time.monotonic() + 10.0)

    run(work)
    assert [len(batch) for batch in bundle.batches] == [100]


def test_a_call_whose_time_runs_out_while_it_waits_isnt_computed_either() -> None:
    bundle = SlowBundle()
    bundle.gate.clear()

    async def work(batches: Batches) -> None:
        version = loaded(bundle)
        first = ask(batches, version, 0.0)
        await until(lambda: bundle.running == 1)
        late, patient = ask(batches, version, 1.0, deadline=time.monotonic() + 0.05), ask(batches, version, 2.0)
        await asyncio.sleep(0.1)
        bundle.gate.set()
        await asyncio.gather(first, patient)
        with pytest.raises(DeadlineExceeded):
            await late

    run(work)
    assert bundle.batches == [[0.0], [2.0]]


@pytest.mark.parametrize(("per_model", "at_once"), [(1, 1), (2, 2)])
def test_one_version_has_no_more_threads_than_it_may(per_model: int, at_once: int) -> None:
    bundle = SlowBundle(seconds=0.02)

    async def work(batches: Batches) -> None:
        version = loaded(bundle, most_rows=1)
        await asyncio.gather(*(ask(batches, version, float(n)) for n in range(8)))

    run(work, threads=3, per_model=per_model)
    assert bundle.most_running == at_once


def test_a_busy_version_doesnt_keep_the_others_waiting() -> None:
    busy, other = SlowBundle(seconds=0.01), SlowBundle()

    async def work(batches: Batches) -> int:
        first, second = loaded(busy, most_rows=1), loaded(other, most_rows=1)
        many = [ask(batches, first, float(n)) for n in range(50)]
        await until(lambda: busy.running == 1)
        await ask(batches, second, 1.0)
        computed = len(busy.batches)
        await asyncio.gather(*many)
        return computed

    assert run(work) < 10


def test_batches_of_a_real_version_answer_exactly_what_each_call_gets_alone(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    bundle = Bundle.open(objects, tiny_bundle(objects), tmp_path / "cache")
    chance = random.Random(3)
    words = ("free", "win", "lunch", "meeting", "hello")

    def row() -> dict[str, object]:
        text = " ".join(chance.choices(words, k=chance.randint(0, 12)))
        return chance.choice([{"text": text, "length": len(text)}, {"text": text, "size": 3}, {"length": None}])

    calls = [[row() for _ in range(chance.randint(1, 7))] for _ in range(60)]

    async def work(batches: Batches) -> list[Predictions]:
        version = loaded(bundle)
        sent = [StructRows([struct(row) for row in rows], 100) for rows in calls]
        return list(await asyncio.gather(*(batches.compute(version, rows, deadline=None) for rows in sent)))

    for rows, together in zip(calls, run(work, threads=2, per_model=2), strict=True):
        alone = bundle.predict(rows)
        assert np.allclose(together.probabilities, alone.probabilities, rtol=0, atol=1e-6)
        assert (together.classes, together.warnings) == (alone.classes, alone.warnings)


def test_a_lane_that_nobody_waits_in_is_forgotten() -> None:
    async def work(batches: Batches) -> int:
        version = loaded(SlowBundle())
        await asyncio.gather(*(ask(batches, version, float(n)) for n in range(20)))
        await asyncio.sleep(0)
        return len(batches._lanes)

    assert run(work) == 0
