"""Removing what is older or larger than a topic allows: always its oldest records, whatever their partitions.

In small transactions, so that appends go on between them. Offsets count on: a partition's next offset is kept apart from
its records. The file doesn't shrink; its free pages take the next events.
"""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Iterator, Sequence

from services.common.events.sqlite_append import SLOT_BITS
from services.common.events.sqlite_file import SqliteFile

MOST_AT_ONCE = 500
"""Records per transaction: some 5 ms."""

_Stored = tuple[int, int, int]
"""(time in us, id, size)"""


def remove_expired(file: SqliteFile) -> int:
    """Answers how many records went."""
    with file.reading() as connection:
        topics = connection.execute("SELECT name, retention_us, retention_bytes FROM topics").fetchall()
    return sum(_trim(file, name, time.time_ns() // 1000 - age_us, most_bytes) for name, age_us, most_bytes in topics)


def _trim(file: SqliteFile, topic: str, cutoff_us: int, most_bytes: int) -> int:
    removed = 0
    while True:
        with file.writing() as connection:
            doomed = _doomed(connection, topic, cutoff_us, most_bytes)
            _remove(connection, doomed)
        removed += len(doomed)
        if len(doomed) < MOST_AT_ONCE:
            return removed


def _doomed(connection: sqlite3.Connection, topic: str, cutoff_us: int, most_bytes: int) -> Sequence[_Stored]:
    """The oldest records, as far as they are too old or the topic is too large; some of them where there are many."""
    partitions = connection.execute("SELECT slot, bytes FROM partitions WHERE topic = ?", (topic,)).fetchall()
    excess = sum(size for _, size in partitions) - most_bytes
    doomed: list[_Stored] = []
    for record in heapq.merge(*(_oldest(connection, slot) for slot, _ in partitions), key=lambda record: record[0]):
        if len(doomed) == MOST_AT_ONCE or (record[0] >= cutoff_us and excess <= 0):
            break
        doomed.append(record)
        excess -= record[2]
    return doomed


def _oldest(connection: sqlite3.Connection, slot: int) -> Iterator[_Stored]:
    bounds = (slot << SLOT_BITS, (slot + 1) << SLOT_BITS)
    yield from connection.execute("SELECT time_us, id, size FROM records WHERE id >= ? AND id < ? ORDER BY id", bounds)


def _remove(connection: sqlite3.Connection, doomed: Sequence[_Stored]) -> None:
    connection.executemany("DELETE FROM records WHERE id = ?", [(identity,) for _, identity, _ in doomed])
    connection.executemany(
        "UPDATE partitions SET first_offset = ?, bytes = bytes - ? WHERE slot = ?",
        [((identity & ((1 << SLOT_BITS) - 1)) + 1, size, identity >> SLOT_BITS) for _, identity, size in doomed],
    )
