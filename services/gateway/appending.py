"""One thread that appends to the event log what many callers hand over, in batches: the group commit of the gateway.

While one batch is being written, the next one gathers; so a hundred callers wait for two commits, not for a hundred. What
waits is bounded. Where the log is down, the oldest wait and are tried again, each for `patience` at most.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge

from services.common.errors import EngineUnavailable, RegrowError, Unavailable
from services.common.events.port import Event, EventLog

Done = Callable[[RegrowError | None], None]

_MOST_EVENTS = 1000
"""Events in one append."""
QUEUE = Gauge("regrow_append_queue_events", "Events that were handed over and aren't committed yet.", ["topic"])
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """What one caller hands over: `count` events, made in the thread, and whom to tell. All of them are committed, or none."""

    make: Callable[[], Sequence[Event]]
    count: int
    size: int
    done: Done
    arrived: float


class Appender:
    """Safe for use from many threads. `linger` is how long a batch gathers before it is written."""

    def __init__(
        self,
        events: EventLog,
        topic: str,
        *,
        most_events: int,
        most_bytes: int,
        linger: float = 0.0,
        patience: float = float("inf"),
    ) -> None:
        self._events = events
        self._topic = topic
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._linger = linger
        self._patience = patience
        self._entries: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._lingering = False
        self._pending = 0
        self._bytes = 0
        self._thread = threading.Thread(target=self._run, name=f"append-{topic}", daemon=True)
        self._thread.start()
        QUEUE.labels(topic).set_function(lambda: self._pending)

    @property
    def pending(self) -> int:
        """Events handed over and not yet committed."""
        return self._pending

    @property
    def closing(self) -> bool:
        """Whether no more is taken, ever."""
        return self._closing

    def offer(self, make: Callable[[], Sequence[Event]], *, count: int, size: int, done: Done) -> bool:
        """Takes events to append; False where there is no room. `done` is called in the thread, with the error if it failed."""
        with self._changed:
            full = self._pending + count > self._most_events or self._bytes + size > self._most_bytes
            if self._closing or (full and self._pending):
                return False
            self._pending += count
            self._bytes += size
            self._entries.append(Entry(make=make, count=count, size=size, done=done, arrived=time.monotonic()))
            if not self._lingering or self._pending >= _MOST_EVENTS:  # to wake a thread costs as much as a small prediction
                self._changed.notify()
            return True

    def close(self, seconds: float) -> int:
        """Writes what waits, for at most `seconds`; answers how many events stayed unwritten."""
        with self._changed:
            self._closing = True
            self._patience = min(self._patience, seconds)
            self._changed.notify()
        self._thread.join(seconds)
        return self._pending

    def _run(self) -> None:
        while batch := self._next():
            self._write(batch)

    def _next(self) -> list[Entry]:
        """The oldest entries, once there are any; none when closed and empty."""
        with self._changed:
            while not self._entries and not self._closing:
                self._changed.wait()
            if self._linger and not self._closing and self._pending < _MOST_EVENTS:
                self._lingering = True
                self._changed.wait_for(lambda: self._closing or self._pending >= _MOST_EVENTS, self._linger)
                self._lingering = False
            batch: list[Entry] = []
            count = 0
            while self._entries and (not batch or count + self._entries[0].count <= _MOST_EVENTS):
                batch.append(self._entries.popleft())
                count += batch[-1].count
            return batch

    def _write(self, batch: list[Entry]) -> None:
        pause = _FIRST_PAUSE
        while batch:
            try:
                self._events.append(self._topic, [event for entry in batch for event in entry.make()])
            except Unavailable as error:
                batch = self._still_patient(batch, error)
                self._rest(pause if batch else 0.0)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as error:
                if len(batch) > 1:
                    for entry in batch:
                        self._write([entry])
                else:
                    self._end(batch[0], _refusal(error))
                return
            else:
                for entry in batch:
                    self._end(entry, None)
                return

    def _still_patient(self, batch: list[Entry], error: Unavailable) -> list[Entry]:
        latest = time.monotonic() - self._patience
        for entry in batch:
            if entry.arrived <= latest:
                self._end(entry, error)
        return [entry for entry in batch if entry.arrived > latest]

    def _rest(self, seconds: float) -> None:
        if seconds:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, seconds)
            if self._closing:
                time.sleep(_FIRST_PAUSE)

    def _end(self, entry: Entry, error: RegrowError | None) -> None:
        with self._changed:
            self._pending -= entry.count
            self._bytes -= entry.size
        entry.done(error)


def _refusal(error: Exception) -> RegrowError:
    if isinstance(error, RegrowError):
        return error
    log.error("appending failed", exc_info=error)
    return EngineUnavailable("events", "an append failed")
