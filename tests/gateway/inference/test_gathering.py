"""Quick calls that are computed together on an event loop, and the rule that says whether the first of them waits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from gateway_world import tiny_bundle
from test_batching import SlowBundle, Values, loaded

from services.common.bundle import Bundle, Predictions
from services.common.errors import InvalidField
from services.common.objects import DirectoryStore
from services.gateway.inference import gathering
from services.gateway.inference.gathering import Gathering
from services.gateway.inference.loading import Loaded
from services.gateway.inference.pace import FAST_SECONDS, WORTH_CALLS, Pace
from services.gateway.oip.rows import TensorRows

Ask = Callable[..., Coroutine[Any, Any, Predictions]]


def gathered(work: Callable[[Ask, Loaded], Coroutine[Any, Any, Any]], bundle: Any) -> tuple[Any, Loaded]:
    async def inside() -> tuple[Any, Loaded]:
        made, version = Gathering(), loaded(bundle)
        return await asyncio.wait_for(work(lambda *values: made.compute(version, Values(*values)), version), 30), version

    return asyncio.run(inside())


def test_calls_of_one_turn_of_the_loop_are_computed_together_and_each_gets_its_own() -> None:
    bundle = SlowBundle()

    async def work(ask: Ask, _: Loaded) -> list[Predictions]:
        return list(await asyncio.gather(ask(1.0), ask(2.0, 2.5), ask(3.0)))

    answers, version = gathered(work, bundle)
    assert [[row[0] for row in one.classes] for one in answers] == [["1.0"], ["2.0", "2.5"], ["3.0"]]
    assert bundle.batches == [[1.0, 2.0, 2.5, 3.0]]
    assert (version.tally.executions, version.tally.queued.count) == (1, 3)


def waits(*after: float, enough: int = 0) -> tuple[list[list[float]], Loaded]:
    """The batches where the first call waits and others come so many seconds after it."""
    bundle = SlowBundle()

    async def work(ask: Ask, version: Loaded) -> None:
        version.pace.began, version.pace.enough = float("inf"), enough  # the batch before began just now

        async def later(seconds: float) -> Predictions:
            await asyncio.sleep(seconds)
            return await ask(seconds)

        await asyncio.gather(*(later(seconds) for seconds in after))

    _, version = gathered(work, bundle)
    return bundle.batches, version


def test_where_calls_come_fast_those_of_later_turns_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_QUIET_SECONDS", 0.5)
    monkeypatch.setattr(gathering, "_LONGEST_SECONDS", 30.0)  # however slow this machine is
    batches, version = waits(0.0, 0.01, 0.02, 0.03)
    assert batches == [[0.0, 0.01, 0.02, 0.03]]
    assert version.pace.enough == 4


def test_a_wait_ends_once_as_many_came_as_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_QUIET_SECONDS", 3600.0)  # nothing else ends it
    batches, _ = waits(0.0, 0.01, 0.02, enough=3)
    assert batches == [[0.0, 0.01, 0.02]]


def test_a_wait_ends_after_a_while_though_calls_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(gathering, "_LONGEST_SECONDS", 0.1)
    batches, _ = waits(*(0.01 * number for number in range(40)))
    assert len(batches) > 1


def test_a_call_that_cant_be_read_or_computed_fails_alone_and_isnt_counted_as_computed() -> None:
    bundle = SlowBundle()

    async def work(ask: Ask, _: Loaded) -> list[Any]:
        return list(await asyncio.gather(ask(1.0), ask("x"), ask(-1.0), return_exceptions=True))

    (good, unread, failed), version = gathered(work, bundle)
    assert isinstance(good, Predictions) and isinstance(unread, InvalidField) and isinstance(failed, ValueError)
    assert (version.tally.executions, version.tally.computed.count) == (1, 1)


def test_calls_with_the_same_columns_are_read_at_once_and_one_that_cant_be_read_fails_alone(
    tmp_path: Path,
) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    bundle = Bundle.open(objects, tiny_bundle(objects), tmp_path / "cache")

    def rows(text: str, length: object) -> TensorRows:
        return TensorRows({"text": [text], "length": [length]}, 1, 100)

    async def work(made: Gathering, version: Loaded) -> list[Any]:
        calls = [rows("win a free lunch, win", 21.0), rows("lunch meeting", 13.0), TensorRows({"length": [1.0, 2.0]}, 2, 100)]
        alone = [(await made.compute(version, one)).probabilities for one in calls]
        together = await asyncio.gather(*(made.compute(version, one) for one in calls[:2]))
        mixed = await asyncio.gather(*(made.compute(version, one) for one in calls))
        bad = await asyncio.gather(
            *(made.compute(version, one) for one in (calls[0], rows("x", "many"), calls[1])), return_exceptions=True
        )
        assert isinstance(bad[1], InvalidField)
        for found in (together, mixed, [bad[0], bad[2]]):
            for one, expected in zip(found, [alone[0], alone[1], alone[2]], strict=False):
                assert np.allclose(one.probabilities, expected, atol=1e-6)
        assert [[told.field for told in row] for row in mixed[2].warnings] == [["text"], ["text"]]
        return together

    async def inside() -> list[Any]:
        return await asyncio.wait_for(work(Gathering(), loaded(bundle)), 30)

    assert [one.classes for one in asyncio.run(inside())] == [[["spam"]], [["ham"]]]


def test_more_calls_than_a_batch_holds_are_computed_in_several() -> None:
    bundle = SlowBundle()

    async def work(ask: Ask, _: Loaded) -> list[Predictions]:
        return list(await asyncio.gather(*(ask(float(n)) for n in range(150))))

    answers, _ = gathered(work, bundle)
    assert [float(one.classes[0][0]) for one in answers] == list(range(150))
    assert [len(batch) for batch in bundle.batches] == [64, 64, 22]


def test_a_caller_who_leaves_is_not_computed_for() -> None:
    bundle = SlowBundle()

    async def work(ask: Ask, _: Loaded) -> None:
        gone, stays = asyncio.ensure_future(ask(1.0)), asyncio.ensure_future(ask(2.0))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, stays, return_exceptions=True)

    gathered(work, bundle)
    assert bundle.batches == [[2.0]]


def test_callers_who_ask_one_after_the_other_are_soon_not_held_up() -> None:
    pace, waited = Pace(), 0
    for number in range(1000):
        waits = pace.wait(number * FAST_SECONDS / 2)
        waited += waits
        pace.learn(waits, 1)
    assert waited <= 25


@pytest.mark.parametrize("calls", [1, 8])
@pytest.mark.parametrize(("gap", "waits"), [(FAST_SECONDS / 2, True), (FAST_SECONDS * 2, False)])
def test_only_calls_that_come_fast_on_average_wait(gap: float, waits: bool, calls: int) -> None:
    pace = Pace(began=100.0, calls=calls)
    assert pace.wait(100.0 + calls * gap) is waits


def test_the_first_call_of_all_doesnt_wait() -> None:
    assert not Pace().wait(100.0)


def test_company_makes_the_next_wait_worth_it_again() -> None:
    pace = Pace(began=100.0, penalty=32)
    assert pace.wait(100.0)
    pace.learn(True, WORTH_CALLS)
    assert pace.penalty == 1 and pace.wait(100.0) and pace.enough == WORTH_CALLS


def test_more_callers_than_before_are_noticed() -> None:
    pace, callers, now = Pace(began=0.0), 5, 0.0
    found = []
    for _ in range(100):
        waits = pace.wait(now)
        found.append(min(callers, pace.enough or callers) if waits else 1)
        pace.learn(waits, found[-1])
        now, callers = now + FAST_SECONDS / 2, 5 if len(found) < 50 else 20
    assert found[-1] == 20 and found.count(1) == 0
