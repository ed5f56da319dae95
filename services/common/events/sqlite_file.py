"""The database file under the SQLite log: connections, transactions, and errors in the words of the domain.

WAL with `synchronous=FULL`: a transaction that committed is on the disk, and readers never wait for a writer. Every wait is
bounded by `wait`. Writers in one process take turns on a lock; between processes SQLite's own lock decides, asked for about
every millisecond, because SQLite's busy handler backs off to 100 ms and starves beside a steady writer. A file that was
deleted or replaced under a running process is noticed: SQLite alone would go on writing into the deleted one.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from services.common.errors import EngineUnavailable

LAYOUT = 1
"""Counts up when a later Regrow stores something that this one can't read."""

SCHEMA = (
    """CREATE TABLE topics (name TEXT PRIMARY KEY, retention_us INTEGER NOT NULL, retention_bytes INTEGER NOT NULL)
       WITHOUT ROWID""",
    """CREATE TABLE partitions (slot INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
       first_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
       UNIQUE (topic, partition))""",
    """CREATE TABLE records (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL, headers TEXT NOT NULL,
       time_us INTEGER NOT NULL, size INTEGER NOT NULL)""",
    "CREATE TABLE groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE members (seat INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, name TEXT NOT NULL,
       topics TEXT NOT NULL, seen REAL NOT NULL, lease REAL NOT NULL, UNIQUE (grp, name))""",
    """CREATE TABLE ownership (grp TEXT NOT NULL, slot INTEGER NOT NULL, owner TEXT, heir TEXT, PRIMARY KEY (grp, slot))
       WITHOUT ROWID""",
    """CREATE TABLE positions (grp TEXT NOT NULL, slot INTEGER NOT NULL, next_offset INTEGER NOT NULL,
       PRIMARY KEY (grp, slot)) WITHOUT ROWID""",
)

_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_PROBLEMS = {
    "SQLITE_BUSY": "another process holds the event log's file locked",
    "SQLITE_LOCKED": "another process holds the event log's file locked",
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_CORRUPT": "the event log's file is damaged; restore it from a backup",
    "SQLITE_NOTADB": "the event log's file is damaged; restore it from a backup",
    "SQLITE_ERROR": "the event log's file lacks what Regrow keeps in it; restore it from a backup",
    "SQLITE_CANTOPEN": "the event log's file can't be opened; see that its folder exists and may be written",
    "SQLITE_READONLY": "the event log's file may not be written",
}


def unavailable(problem: str) -> EngineUnavailable:
    """The error of whatever the log can't do now."""
    return EngineUnavailable("events", problem)


class _Connection(sqlite3.Connection):
    """A connection that knows which file it was opened on."""

    identity: tuple[int, int]


class SqliteFile:
    """Connections to one file, for any number of threads; a connection serves one transaction at a time."""

    def __init__(self, path: Path, *, wait: timedelta) -> None:
        """Makes the file where needed. Raises `EngineUnavailable`."""
        self.path = path
        self.wait = wait.total_seconds()
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._idle: list[_Connection] = []
        self._closed = False
        with _explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect("rwc")) as connection:
                self._patiently(connection, lambda: _lay_out(connection))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One moment's state of the log; sees nothing that isn't committed."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Commits when the block ends, and undoes all of it when it raises."""
        if not self._turn.acquire(timeout=self.wait):
            raise unavailable(f"other threads kept the event log busy for {self.wait:g} s")
        try:
            with self._transaction("BEGIN IMMEDIATE") as connection:
                yield connection
        finally:
            self._turn.release()

    def close(self) -> None:
        """Later calls raise `EngineUnavailable`."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with _explained():
            connection = self._take()
            try:
                self._patiently(connection, lambda: _begin(connection, begin))
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()  # undoes the transaction; what met a broken file isn't used again
                raise
            except BaseException:
                connection.execute("ROLLBACK")
                self._give_back(connection)
                raise
            self._give_back(connection)

    def _patiently(self, connection: sqlite3.Connection, action: Callable[[], None]) -> None:
        """Repeats what another process's lock refuses, until `wait` is over."""
        deadline = time.monotonic() + self.wait
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _kind(error) not in _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0002, 0.001))

    def _take(self) -> _Connection:
        identity = self._identify()
        with self._guard:
            if self._closed:
                raise unavailable("the event log was closed")
            while self._idle:
                connection = self._idle.pop()
                if connection.identity == identity:
                    return connection
                connection.close()  # a backup was restored: this one still writes into the file that is gone
        return self._connect("rw")

    def _give_back(self, connection: _Connection) -> None:
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, mode: str) -> _Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            self._patiently(connection, lambda: _be_durable(connection))
            connection.identity = self._identify()
        except BaseException:
            connection.close()
            raise
        return connection

    def _identify(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise unavailable(f"the file '{self.path}' is missing; restore it from a backup") from None
        return found.st_dev, found.st_ino


def _be_durable(connection: sqlite3.Connection) -> None:
    """Reads the file's header, so it meets the lock of whoever makes or recovers the log at this moment."""
    connection.execute("PRAGMA synchronous=FULL")


def _lay_out(connection: sqlite3.Connection) -> None:
    """Makes the tables once; of several processes that start at once, the first one does."""
    connection.execute("PRAGMA journal_mode=WAL")
    if _layout(connection) == LAYOUT:
        return
    connection.execute("BEGIN IMMEDIATE")
    found = _layout(connection)
    if found > LAYOUT:
        raise unavailable(f"the event log's file has layout {found}, and this Regrow knows {LAYOUT}; install a newer one")
    if found == 0:
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={LAYOUT}")
    connection.execute("COMMIT")


def _layout(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _begin(connection: sqlite3.Connection, begin: str) -> None:
    connection.execute(begin)
    connection.execute("SELECT 1 FROM topics LIMIT 1")  # only now a reader has its snapshot, and has met every lock


@contextmanager
def _explained() -> Iterator[None]:
    """Says what SQLite and the file system report in a sentence of the domain. Misuse of SQLite goes through: it is a bug."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise unavailable(_PROBLEMS.get(_kind(error), f"SQLite answers '{_kind(error)}'")) from error
    except OSError as error:
        raise unavailable(f"the file system answers '{error.strerror}'") from error


def _kind(error: sqlite3.Error) -> str:
    """`SQLITE_BUSY_RECOVERY` -> `SQLITE_BUSY`."""
    return "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])
