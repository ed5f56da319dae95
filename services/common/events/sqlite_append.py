"""Appending to the SQLite log: one sync of the disk for all who wait.

A commit costs a sync, whether it holds one event or a thousand. So whoever gets the turn commits what every waiting thread
brought, in one transaction, in the order of arrival; the others find their work done when their turn comes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.common.errors import InvalidField, NotFound, RegrowError, TooLarge
from services.common.events.port import MOST_EVENT_BYTES, Event
from services.common.events.sqlite_file import SqliteFile, unavailable

SLOT_BITS = 40
"""A record's id is `slot << 40 | offset`: a partition is one range of the table, and a read is one seek."""

MOST_BATCH_BYTES = 32 << 20
"""Bounds how long one transaction keeps the others waiting."""

_INSERT = "INSERT INTO records (id, key, value, headers, time_us, size) VALUES (?, ?, ?, ?, ?, ?)"
_TOGETHER = 50
_INSERT_TOGETHER = _INSERT + ", (?, ?, ?, ?, ?, ?)" * (_TOGETHER - 1)
"""Every statement lets other threads run and then waits for its turn, which costs a busy process more than the insert."""

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Row = tuple[int, str, bytes, str, int]
"""(hash of the key, key, value, headers as JSON, size)"""


class Signal:
    """Wakes the consumers of this process when something was appended."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.count = 0

    def raise_(self) -> None:
        """Wakes all who wait."""
        with self._condition:
            self.count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> None:
        """Returns when the count is no longer `seen`, or after `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self.count != seen, timeout)


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    """One call of `append`, from its arrival until it is settled."""

    topic: str
    rows: Sequence[Row]
    settled: threading.Event = field(default_factory=threading.Event)
    offsets: Sequence[tuple[int, int]] = ()
    error: BaseException | None = None

    @property
    def size(self) -> int:
        return sum(row[4] for row in self.rows)


@dataclass(slots=True, kw_only=True)
class _Tail:
    """The end of a partition while a transaction adds to it."""

    slot: int
    next: int
    bytes: int = 0


class Appender:
    """The writing half of the log. For any number of threads."""

    def __init__(self, file: SqliteFile, appended: Signal) -> None:
        self._file = file
        self._appended = appended
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: deque[_Request] = deque()

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """See `EventLog.append`."""
        request = _Request(topic=topic, rows=[_row(event, number) for number, event in enumerate(events)])
        with self._guard:
            self._waiting.append(request)
        if self._turn.acquire(timeout=self._file.wait):
            try:
                while not request.settled.is_set():
                    self._commit(self._next_batch())
            finally:
                self._turn.release()
        elif self._withdraw(request):
            raise unavailable(f"other threads kept the event log busy for {self._file.wait:g} s")
        request.settled.wait()
        if request.error is not None:
            raise request.error
        return request.offsets

    def _next_batch(self) -> Sequence[_Request]:
        batch: list[_Request] = []
        size = 0
        with self._guard:
            while self._waiting and (not batch or size + self._waiting[0].size <= MOST_BATCH_BYTES):
                batch.append(self._waiting.popleft())
                size += batch[-1].size
        return batch

    def _withdraw(self, request: _Request) -> bool:
        """False where somebody is committing it already; that is soon settled."""
        with self._guard:
            if request not in self._waiting:
                return False
            self._waiting.remove(request)
            return True

    def _commit(self, batch: Sequence[_Request]) -> None:
        try:
            with self._file.writing() as connection:
                for request in batch:
                    _write(connection, request)
        except BaseException as error:
            for request in batch:
                request.error = error if isinstance(error, RegrowError) else unavailable("the write was interrupted")
            if not isinstance(error, RegrowError):
                raise
        finally:
            for request in batch:
                request.settled.set()
        self._appended.raise_()


def _row(event: Event, number: int) -> Row:
    try:
        key = event.key.encode()
        headers = _to_json(dict(event.headers))
        size = len(key) + len(event.value)
        stored = size + len(headers.encode())
    except UnicodeEncodeError:
        raise InvalidField(f"events[{number}]", "its key or a header has half of a surrogate pair; send valid text.") from None
    if size > MOST_EVENT_BYTES:
        raise TooLarge(f"Event {number} ({size} bytes)", limit=f"{MOST_EVENT_BYTES >> 20} MiB")
    return zlib.crc32(key), event.key, event.value, headers, stored


def _write(connection: sqlite3.Connection, request: _Request) -> None:
    known = "SELECT slot, next_offset FROM partitions WHERE topic = ? ORDER BY partition"
    partitions = [_Tail(slot=slot, next=offset) for slot, offset in connection.execute(known, (request.topic,))]
    if not partitions:
        request.error = NotFound("topic", request.topic, "Make it with ensure_topics.")
        return
    now = time.time_ns() // 1000
    offsets, records = [], []
    for hashed, key, value, headers, size in request.rows:
        number = hashed % len(partitions)
        tail = partitions[number]
        offsets.append((number, tail.next))
        records.append((tail.slot << SLOT_BITS | tail.next, key, value, headers, now, size))
        tail.next += 1
        tail.bytes += size
    whole = len(records) - len(records) % _TOGETHER
    for start in range(0, whole, _TOGETHER):
        connection.execute(_INSERT_TOGETHER, [cell for record in records[start : start + _TOGETHER] for cell in record])
    connection.executemany(_INSERT, records[whole:])
    connection.executemany(
        "UPDATE partitions SET next_offset = ?, bytes = bytes + ? WHERE slot = ?",
        [(tail.next, tail.bytes, tail.slot) for tail in partitions if tail.bytes],
    )
    request.offsets = offsets
