"""Computing predictions in a few threads, the calls for one version together where that is worth it.

Each version that somebody waits for has a lane: its waiting calls, in order. A free thread takes the next lane in turn (a
busy model can't keep the others waiting), forms a batch of its first calls as large as its `Window` says, and computes it;
each call gets the answers that it has alone. What bounds it: `backlog` calls wait in a lane, one more is refused as busy;
`per_model` batches of one version run at once; a call whose deadline is too near is refused before it is computed; a call
whose caller has left gives its place back, and work that nobody waits for any more ends between two chunks of rows.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from services.common.bundle import Predictions
from services.common.errors import Busy, DeadlineExceeded
from services.common.rpc.principal import current_call
from services.gateway.calls import ClientGone
from services.gateway.inference import meters
from services.gateway.inference.computing import Outcome, compute, executed
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import Rows
from services.gateway.inference.tally import Timed

_LONGEST_RETRY_SECONDS = 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """One call. `deadline` is on the monotonic clock."""

    rows: Rows
    deadline: float
    future: asyncio.Future[Predictions]
    arrived: int = field(default_factory=time.perf_counter_ns)

    @property
    def left(self) -> bool:
        """Whether its caller is gone; may be asked from any thread."""
        return self.future.done()


@dataclass(slots=True, kw_only=True, eq=False)
class _Lane:
    loaded: Loaded
    calls: deque[_Waiting] = field(default_factory=deque)
    rows: int = 0
    running: int = 0
    timer: asyncio.TimerHandle | None = None

    def pop(self) -> _Waiting:
        call = self.calls.popleft()
        self.rows -= len(call.rows)
        return call

    def expected_seconds(self, rows: int) -> float:
        """Until the last of what waits and a call of `rows` more are computed, each call whole; 0 while nothing is known."""
        window = self.loaded.window
        waiting = min(len(self.calls), math.ceil(self.rows / max(window.rows(), 1)))
        return window.seconds(self.rows + rows) + waiting * window.seconds(0)


class Batches:
    """Belongs to the event loop."""

    def __init__(self, *, threads: int, backlog: int, per_model: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="predict")
        self._free = threads
        self._backlog = backlog
        self.pending = 0
        """Calls that compute or wait."""
        self._per_model = per_model
        self._lanes: dict[Loaded, _Lane] = {}
        self._in_turn: OrderedDict[_Lane, None] = OrderedDict()

    async def compute(self, loaded: Loaded, rows: Rows, *, deadline: float | None) -> Predictions:
        """Raises `InvalidField` for a value that can't be read, `Busy`, `DeadlineExceeded`, `ClientGone`."""
        now = time.monotonic()
        loaded.window.arrived(now)
        lane = self._lanes.get(loaded) or _Lane(loaded=loaded)
        call = _Waiting(
            rows=rows, deadline=math.inf if deadline is None else deadline,
            future=asyncio.get_running_loop().create_future(),
        )  # fmt: skip
        self._admit(lane, call, now)
        self._lanes[loaded] = lane
        lane.calls.append(call)
        lane.rows += len(rows)
        self.pending += 1
        self._look(lane)
        try:
            return await _unless_gone(call.future)
        finally:
            self.pending -= 1
            self._leave(lane, call)

    def waiting(self, loaded: Loaded) -> int:
        """Calls that wait for this version."""
        lane = self._lanes.get(loaded)
        return len(lane.calls) if lane is not None else 0

    def close(self) -> None:
        """Lets running calls end."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self, lane: _Lane, call: _Waiting, now: float) -> None:
        needed = lane.expected_seconds(len(call.rows))
        if len(lane.calls) >= self._backlog:
            meters.BUSY.inc()
            seconds = min(max(1.0, math.ceil(needed)), _LONGEST_RETRY_SECONDS)
            raise Busy(
                f"{self._backlog:,} predictions wait for this model already. Try again in {seconds:.0f} s.",
                retry_after=timedelta(seconds=seconds),
            )
        if now + needed > call.deadline:
            raise _late(call, needed, now)

    def _leave(self, lane: _Lane, call: _Waiting) -> None:
        """The call got its answer, or its caller is gone: then its place is free at once."""
        if not call.future.done():
            call.future.cancel()
        if call.future.cancelled() and call in lane.calls:
            lane.calls.remove(call)
            lane.rows -= len(call.rows)
            meters.GONE.inc()
            self._forget(lane)

    def _look(self, lane: _Lane) -> None:
        """Begins what may begin."""
        if lane.timer is not None or not lane.calls or lane.running >= self._per_model:
            return
        if not self._free:
            self._in_turn[lane] = None
            return
        seconds = lane.loaded.window.wait(len(lane.calls), time.monotonic()) if lane.rows < lane.loaded.window.rows() else 0.0
        if seconds > 0:
            lane.timer = asyncio.get_running_loop().call_later(seconds, self._waited, lane)
        else:
            self._begin(lane)

    def _waited(self, lane: _Lane) -> None:
        lane.timer = None
        if lane.calls and self._free and lane.running < self._per_model:
            self._begin(lane)
        else:
            self._look(lane)

    def _begin(self, lane: _Lane) -> None:
        batch = self._batch(lane)
        if not batch:
            self._forget(lane)
            return
        self._free -= 1
        lane.running += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, compute, lane.loaded, batch)
        running.add_done_callback(lambda done: self._ended(lane, batch, done))
        self._look(lane)

    def _batch(self, lane: _Lane) -> list[_Waiting]:
        """The first calls, as many as are worth it and as still come in time; those that can't are refused."""
        window, now = lane.loaded.window, time.monotonic()
        most, batch, rows, deadline = window.rows(), list[_Waiting](), 0, math.inf
        while lane.calls:
            call = lane.calls[0]
            together = rows + len(call.rows)
            if batch and (together > most or now + window.seconds(together) > min(deadline, call.deadline)):
                break
            lane.pop()
            needed = window.seconds(len(call.rows))
            if now + needed > call.deadline and not call.left:
                call.future.set_exception(_late(call, needed, now))
            elif not call.left:
                batch.append(call)
                rows, deadline = together, min(deadline, call.deadline)
        return batch

    def _ended(self, lane: _Lane, batch: list[_Waiting], done: asyncio.Future[tuple[list[Outcome], Timed]]) -> None:
        self._free += 1
        lane.running -= 1
        if done.cancelled() or done.exception() is not None:
            failure = done.exception() if not done.cancelled() else None
            outcomes: list[Outcome] = [failure or ClientGone("The gateway stops.")] * len(batch)
        else:
            outcomes, timed = done.result()
            rows = sum(len(call.rows) for call in batch)
            if all(isinstance(outcome, Predictions) for outcome in outcomes):
                lane.loaded.window.measured(rows, (timed.ended - timed.began) / 1e9, time.monotonic())
            executed(lane.loaded, batch, outcomes, timed)
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.future.done():
                continue
            if isinstance(outcome, BaseException):
                call.future.set_exception(outcome)
            else:
                call.future.set_result(outcome)
        self._next(lane)

    def _next(self, lane: _Lane) -> None:
        """Who waited longest for a thread has it; this lane comes last."""
        if lane.calls:
            self._in_turn[lane] = None
        else:
            self._forget(lane)
        for _ in range(len(self._in_turn)):
            if not self._free:
                return
            first, _ = self._in_turn.popitem(last=False)
            self._look(first)

    def _forget(self, lane: _Lane) -> None:
        if not lane.calls and not lane.running:
            if lane.timer is not None:
                lane.timer.cancel()
            self._in_turn.pop(lane, None)
            self._lanes.pop(lane.loaded, None)


def _late(call: _Waiting, needed: float, now: float) -> DeadlineExceeded:
    meters.LATE.inc()
    rows = len(call.rows)
    return DeadlineExceeded(f"Predicting {rows:,} {'row' if rows == 1 else 'rows'}", needed=needed, left=call.deadline - now)


async def _unless_gone(future: asyncio.Future[Predictions]) -> Predictions:
    """The future's result. Raises `ClientGone` where the caller leaves first and its server doesn't cancel this task."""
    call = current_call()
    if call is None or call.gone is None:
        return await future
    gone = asyncio.ensure_future(call.gone())
    try:
        watched: set[asyncio.Future[Any]] = {future, gone}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ClientGone("The caller closed the connection before the answer was ready.")
        return future.result()
    finally:
        gone.cancel()
