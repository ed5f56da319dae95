"""Quick calls, computed on the event loop: those for one version that arrive together are computed together.

That is for all that arrive in one turn of the loop. Over gRPC every call comes in a turn of its own, however many are on
their way; so where calls come fast, the first of them waits while others still come, two milliseconds at most, as long as that
brings it company: computing, and waking the caller's side, cost nearly as much for one as for several (measured: 16 callers
of a small model over gRPC cost a quarter less CPU each). A wait that brought too few is not repeated soon, so that callers
who wait for one answer before they ask again are never held up.
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
_LONGEST_SECONDS = 0.002
_QUIET_TURNS = 12
"""Turns of the loop in which nobody came: a call over gRPC takes two or three to arrive, and an empty one takes 2 us."""


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
    waits: bool
    latest: float
    calls: list[_Quick] = field(default_factory=list)
    seen: int = 0
    quiet: int = 0

    def is_complete(self) -> bool:
        """Whether waiting any longer brings nobody; asked once in a turn of the loop."""
        self.quiet = self.quiet + 1 if len(self.calls) == self.seen else 0
        self.seen = len(self.calls)
        return not self.waits or self.quiet >= _QUIET_TURNS or time.monotonic() >= self.latest


class Gathering:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._batches: dict[Loaded, _Batch] = {}

    async def compute(self, loaded: Loaded, rows: Rows) -> Predictions:
        """Raises `InvalidField` for a value that can't be read."""
        loop = asyncio.get_running_loop()
        batch, now = self._batches.get(loaded), time.monotonic()
        if batch is None:
            batch = self._batches[loaded] = _Batch(loaded.pace.wait(now), now + _LONGEST_SECONDS)
            loop.call_soon(self._look, loaded, batch)
        else:
            loaded.pace.last = now
        call = _Quick(rows, loop.create_future(), time.perf_counter_ns())
        batch.calls.append(call)
        if len(batch.calls) >= _MOST_CALLS:
            self._end(loaded, batch)
        return await call.future

    def _look(self, loaded: Loaded, batch: _Batch) -> None:
        if self._batches.get(loaded) is not batch:
            return  # it was full
        if batch.is_complete():
            self._end(loaded, batch)
        else:
            asyncio.get_running_loop().call_soon(self._look, loaded, batch)

    def _end(self, loaded: Loaded, batch: _Batch) -> None:
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
