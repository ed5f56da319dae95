"""The embedded event log: one SQLite file, which any number of processes of a machine may share.

What `append` returned from is on the disk. `sqlite_file` holds connections and transactions, `sqlite_append` the writing
half, `sqlite_consumer` the reading half, `sqlite_groups` who reads what, `sqlite_retention` what goes.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

from services.common.errors import InvalidField, NotFound
from services.common.events.port import TOPICS, Consumer, Event, Offsets, Topic
from services.common.events.sqlite_append import Appender, Signal
from services.common.events.sqlite_consumer import SqliteConsumer, new_member
from services.common.events.sqlite_file import SqliteFile
from services.common.events.sqlite_groups import positions
from services.common.events.sqlite_heartbeat import Heartbeat
from services.common.events.sqlite_retention import remove_expired

LEASE = timedelta(seconds=6)
"""How long a dead member keeps its partitions."""

WAIT = timedelta(seconds=5)
"""How long a call waits for the file's lock before it says that the log can't be reached."""

MOST_SILENCE = timedelta(minutes=5)
"""How long a living member may work on one batch, without a poll or a commit, before its partitions go to others."""

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class SqliteLog:
    """An `EventLog` in the file `path`. For any number of threads and processes; not to be used across a fork."""

    def __init__(
        self, path: Path, *, lease: timedelta = LEASE, wait: timedelta = WAIT, most_silence: timedelta = MOST_SILENCE
    ) -> None:
        """Makes the file where needed. Raises `EngineUnavailable`."""
        self._file = SqliteFile(path, wait=wait)
        self._lease = lease
        self._appended = Signal()
        self._appender = Appender(self._file, self._appended)
        self._heartbeat = Heartbeat(self._file, lease=lease, most_silence=most_silence)

    def ensure_topics(self, topics: Sequence[Topic] = TOPICS) -> None:
        """See `EventLog.ensure_topics`."""
        for topic in topics:
            if not _NAME.fullmatch(topic.name) or not 1 <= topic.partitions <= 1000:
                raise InvalidField("topics", f"{topic} needs a name of letters, digits and '._-' and 1 to 1000 partitions.")
        with self._file.writing() as connection:
            for topic in topics:
                _ensure(connection, topic)

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """See `EventLog.append`."""
        return self._appender.append(topic, events) if events else []

    def consumer(
        self, topics: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> Consumer:
        """See `EventLog.consumer`."""
        member = None if group is None else new_member(group, topics, self._lease)
        consumer = SqliteConsumer(self._file, self._appended, topics, latest=start == "latest", member=member)
        if member is not None:
            self._heartbeat.watch(consumer)
        return consumer

    def ends(self, topic: str) -> Offsets:
        """See `EventLog.ends`."""
        with self._file.reading() as connection:
            return {(topic, partition): end for partition, _, end in _partitions(connection, topic)}

    def committed(self, group: str, topic: str) -> Offsets:
        """See `EventLog.committed`."""
        with self._file.reading() as connection:
            stored = positions(connection, group)
            return {(topic, partition): stored.get(slot, 0) for partition, slot, _ in _partitions(connection, topic)}

    def apply_retention(self) -> int:
        """See `EventLog.apply_retention`. In small transactions: appends go on meanwhile."""
        return remove_expired(self._file)

    def check(self) -> None:
        """See `EventLog.check`: the file is there, is a log, and its lock can be had."""
        with self._file.writing() as connection:
            connection.execute("SELECT count(*) FROM partitions").fetchone()

    def missing_topics(self) -> Sequence[str]:
        """See `EventLog.missing_topics`."""
        with self._file.reading() as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM topics")}
        return [topic.name for topic in TOPICS if topic.name not in there]

    def close(self) -> None:
        """See `EventLog.close`."""
        self._heartbeat.stop()
        self._file.close()


def _ensure(connection: sqlite3.Connection, topic: Topic) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO topics (name, retention_us, retention_bytes) VALUES (?, ?, ?)",
        (topic.name, topic.retention // timedelta(microseconds=1), topic.retention_bytes),
    )
    known = connection.execute("SELECT 1 FROM partitions WHERE topic = ?", (topic.name,)).fetchone()
    if known is None:
        connection.executemany(
            "INSERT INTO partitions (topic, partition) VALUES (?, ?)", [(topic.name, n) for n in range(topic.partitions)]
        )


def _partitions(connection: sqlite3.Connection, topic: str) -> Sequence[tuple[int, int, int]]:
    """(partition, slot, the offset after its last record)"""
    known = "SELECT partition, slot, next_offset FROM partitions WHERE topic = ? ORDER BY partition"
    found = connection.execute(known, (topic,)).fetchall()
    if not found:
        raise NotFound("topic", topic, "Make it with ensure_topics.")
    return found
