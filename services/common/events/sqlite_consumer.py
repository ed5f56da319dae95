"""Reading the SQLite log: a consumer with or without a group."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from services.common.errors import FailedPrecondition, InvalidField, NotFound, Unavailable
from services.common.events.port import Offsets, Record
from services.common.events.sqlite_append import SLOT_BITS, Signal
from services.common.events.sqlite_file import SqliteFile
from services.common.events.sqlite_groups import Member, is_outdated, leave, positions, renew, store_positions, take_seat

TICK = 0.025
"""Seconds between looks at what other processes appended; a look costs some 50 us."""

MOST_POLL_BYTES = 32 << 20
"""Bounds a batch of large events; the first one always fits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


class SqliteConsumer:
    """A `Consumer` of the SQLite log. Belongs to one thread; only `member` and `active` are read by another."""

    def __init__(
        self, file: SqliteFile, appended: Signal, topics: Sequence[str], *, latest: bool, member: Member | None
    ) -> None:
        """Raises `NotFound` for an unknown topic. A member has its free partitions when this returns."""
        self.member = member
        self.active = time.monotonic()
        self._file = file
        self._appended = appended
        self._latest = latest
        self._generation = 0
        self._turn = 0
        self._closed = False
        self._committed: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        with file.reading() as connection:
            self._slots = _slots_of(connection, topics)
            self._names = {slot: name for name, slot in self._slots.items()}
            if member is None:
                self._positions = dict.fromkeys(self._names, 0) | (_ends(connection, self._names) if latest else {})
        if member is not None:
            self._take_seat(member)

    def poll(self, *, timeout: timedelta, max_records: int = 500) -> Sequence[Record]:
        """See `Consumer.poll`. Partitions take turns at going first."""
        if self._closed:
            raise FailedPrecondition("This consumer was closed; open another one.")
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            seen = self._appended.count
            self.active = time.monotonic()
            self._keep_seat()
            records = self._read(max_records)
            left = deadline - time.monotonic()
            if records or left <= 0:
                return records
            self._appended.wait(seen, min(left, TICK))

    def commit(self, offsets: Offsets | None = None) -> None:
        """See `Consumer.commit`. Writes only what changed."""
        wanted = self._positions if offsets is None else {self._slot(name): offset for name, offset in offsets.items()}
        changed = {slot: offset for slot, offset in wanted.items() if self._committed.get(slot) != offset}
        self.active = time.monotonic()
        if self.member is None or not changed:
            return
        with self._file.writing() as connection:
            lost = store_positions(connection, self.member, changed)
            renew(connection, [self.member], time.time())
        self._committed.update((slot, offset) for slot, offset in changed.items() if slot not in lost)
        if lost:
            _log.warning("commit_left_out", group=self.member.group, partitions=[self._names[slot] for slot in sorted(lost)])

    def seek(self, offsets: Offsets) -> None:
        """See `Consumer.seek`."""
        wanted = {self._slot(name): offset for name, offset in offsets.items()}
        for slot, offset in wanted.items():
            if slot not in self._positions or offset < 0:
                raise InvalidField("offsets", f"{self._names[slot]} at {offset} isn't a place that this consumer reads.")
        self._positions.update(wanted)

    def assignment(self) -> Sequence[tuple[str, int]]:
        """See `Consumer.assignment`."""
        return sorted(self._names[slot] for slot in self._positions)

    def positions(self) -> Offsets:
        """See `Consumer.positions`."""
        return {self._names[slot]: offset for slot, offset in self._positions.items()}

    def lag(self) -> int:
        """See `Consumer.lag`. What retention removed isn't counted; without a group the positions count as committed."""
        with self._file.reading() as connection:
            done = self._positions if self.member is None else positions(connection, self.member.group)
            return sum(end - max(first, done.get(slot, 0)) for slot, first, end in _bounds(connection, self._positions))

    def close(self) -> None:
        """See `Consumer.close`. Where the log can't be reached, the lease's end does the same."""
        if self._closed:
            return
        self._closed = True
        if self.member is None:
            return
        try:
            with self._file.writing() as connection:
                leave(connection, self.member)
        except Unavailable as error:
            _log.warning("left_without_goodbye", group=self.member.group, problem=error.message)

    @property
    def alive(self) -> bool:
        """Whether the lease is still wanted."""
        return not self._closed

    def _slot(self, name: tuple[str, int]) -> int:
        if name not in self._slots:
            raise InvalidField("offsets", f"{name} isn't a partition of this consumer's topics.")
        return self._slots[name]

    def _keep_seat(self) -> None:
        if self.member is None:
            return
        with self._file.reading() as connection:
            outdated = is_outdated(connection, self.member, self._generation, time.time())
        if outdated:
            self._take_seat(self.member)

    def _take_seat(self, member: Member) -> None:
        with self._file.writing() as connection:
            standing = take_seat(connection, member, time.time())
            gained = standing.slots - self._positions.keys()
            committed = positions(connection, member.group)
            unknown = {slot for slot in gained if slot not in committed}
            starts = _ends(connection, unknown) if self._latest else dict.fromkeys(unknown, 0)
            if self._latest:  # stored at once: who takes over from a member that dies early must not skip to a later end
                store_positions(connection, member, starts)
        self._generation = standing.generation
        kept = {slot: offset for slot, offset in self._positions.items() if slot in standing.slots}
        self._positions = kept | {slot: committed.get(slot, starts.get(slot, 0)) for slot in gained}
        self._committed = {slot: committed[slot] for slot in self._positions if slot in committed}

    def _read(self, most: int) -> Sequence[Record]:
        order = sorted(self._positions)
        self._turn += 1
        records: list[Record] = []
        size = 0
        with self._file.reading() as connection:
            for number in range(len(order)):
                slot = order[(number + self._turn) % len(order)]
                for row in _rows(connection, slot, self._positions[slot], most - len(records)):
                    if records and size + row[-1] > MOST_POLL_BYTES:
                        break
                    records.append(self._record(slot, row))
                    size += row[-1]
        for record in records:
            self._positions[self._slots[record.topic, record.partition]] = record.offset + 1
        return records

    def _record(self, slot: int, row: tuple[int, str, bytes, str, int, int]) -> Record:
        topic, partition = self._names[slot]
        identity, key, value, headers, time_us, _ = row
        return Record(
            topic=topic,
            partition=partition,
            offset=identity & ((1 << SLOT_BITS) - 1),
            key=key,
            value=value,
            headers=json.loads(headers),
            time=_EPOCH + timedelta(microseconds=time_us),
        )


def new_member(group: str, topics: Sequence[str], lease: timedelta) -> Member:
    """A member with a name that no other has."""
    return Member(group=group, name=uuid.uuid4().hex, topics=tuple(topics), lease=lease.total_seconds())


def _slots_of(connection: sqlite3.Connection, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for topic in topics:
        rows = connection.execute("SELECT partition, slot FROM partitions WHERE topic = ?", (topic,)).fetchall()
        if not rows:
            raise NotFound("topic", topic, "Make it with ensure_topics.")
        found.update({(topic, partition): slot for partition, slot in rows})
    return found


def _bounds(connection: sqlite3.Connection, slots: Mapping[int, object] | set[int]) -> Sequence[tuple[int, int, int]]:
    """(slot, the first offset that is left, the offset after the last one)"""
    rows = connection.execute("SELECT slot, first_offset, next_offset FROM partitions").fetchall()
    return [row for row in rows if row[0] in slots]


def _ends(connection: sqlite3.Connection, slots: Mapping[int, object] | set[int]) -> dict[int, int]:
    return {slot: end for slot, _, end in _bounds(connection, slots)}


def _rows(connection: sqlite3.Connection, slot: int, offset: int, most: int) -> sqlite3.Cursor:
    start, end = slot << SLOT_BITS | offset, (slot + 1) << SLOT_BITS
    return connection.execute(
        "SELECT id, key, value, headers, time_us, size FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (start, end, most),
    )
