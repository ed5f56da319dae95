"""Quick calls, computed on the event loop: those for one version that come close together are computed together.

That is for all that come in one turn of the loop. Over gRPC every call comes in a turn of its own, however many are on their
way; so where calls come fast, the first of them waits while others still come, as long as that brings it company: computing,
and waking the caller's side, cost nearly as much for one as for several (`benchmarks/inference.py`). The wait ends once as
many are there as came the last time. One that brought too few is not repeated soon, so that callers who wait for one answer
before they ask again are never held up.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from services.common.bundle import Predictions
from services.gateway.inference.computing import compute, executed
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import Rows

_MOST_CALLS = 64
_QUIET_SECONDS, _LONGEST_SECONDS = 0.001, 0.005
"""A wait ends where nobody came for so long, or after so long."""


@dataclass(slots=True, eq=False)
class _Quick:
    rows: Rows
    future: asyncio.Future[Predictions]
    arrived: int

    @property
    def left(self) -> bool:
        """Whether its caller is gone."""
        return self.future.done()


@dataclass(slots=True, eq=False)
class _Batch:
    """`enough` calls end its wait; it ends at `latest` whoever comes, and `seen` calls were there at the last look."""

    waits: bool
    enough: int
    latest: float
    calls: list[_Quick] = field(default_factory=list)
    seen: int = 0


class Gathering:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._batches: dict[Loaded, _Batch] = {}

    async def compute(self, loaded: Loaded, rows: Rows) -> Predictions:
        """Raises `InvalidField` for a value that can't be read."""
        loop = asyncio.get_running_loop()
        batch = self._batches.get(loaded)
        if batch is None:
            batch = self._batches[loaded] = self._begin(loaded, loop)
        call = _Quick(rows, loop.create_future(), time.perf_counter_ns())
        batch.calls.append(call)
        count = len(batch.calls)
        if count >= _MOST_CALLS:
            self._end(loaded, batch)
        elif count == batch.enough:
            loop.call_soon(self._end, loaded, batch)
        return await call.future

    def _begin(self, loaded: Loaded, loop: asyncio.AbstractEventLoop) -> _Batch:
        now, pace = time.monotonic(), loaded.pace
        batch = _Batch(pace.wait(now), pace.enough, now + _LONGEST_SECONDS)
        if batch.waits:
            loop.call_later(_QUIET_SECONDS, self._look, loaded, batch)
        else:
            loop.call_soon(self._end, loaded, batch)
        return batch

    def _look(self, loaded: Loaded, batch: _Batch) -> None:
        """Ends a wait where nobody came since the last look; looks again after a while where somebody did."""
        if self._batches.get(loaded) is not batch:
            return
        if len(batch.calls) == batch.seen or time.monotonic() >= batch.latest:
            self._end(loaded, batch)
        else:
            batch.seen = len(batch.calls)
            asyncio.get_running_loop().call_later(_QUIET_SECONDS, self._look, loaded, batch)

    def _end(self, loaded: Loaded, batch: _Batch) -> None:
        if self._batches.get(loaded) is not batch:
            return  # it was full, or enough had come
        del self._batches[loaded]
        loaded.pace.learn(batch.waits, len(batch.calls))
        waiting = [call for call in batch.calls if not call.left]
        if not waiting:
            return
        outcomes, timed = compute(loaded, waiting)
        executed(loaded, waiting, outcomes, timed)
        for call, outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, Predictions):
                call.future.set_result(outcome)
            else:
                call.future.set_exception(outcome)
