"""The thread that keeps this process's members in their groups while their handlers work."""

from __future__ import annotations

import threading
import time
import weakref
from datetime import timedelta

import structlog

from services.common.errors import Unavailable
from services.common.events.sqlite_consumer import SqliteConsumer
from services.common.events.sqlite_file import SqliteFile
from services.common.events.sqlite_groups import renew

_log = structlog.get_logger(__name__)


class Heartbeat:
    """Renews the leases of a process's members while their handlers work; polls alone would evict a slow handler.

    Stops for a member that hasn't polled or committed for `most_silence`: it hangs, and others shall have its partitions.
    """

    def __init__(self, file: SqliteFile, *, lease: timedelta, most_silence: timedelta) -> None:
        self._file = file
        self._every = lease.total_seconds() / 3
        self._most_silence = most_silence.total_seconds()
        self._consumers: weakref.WeakSet[SqliteConsumer] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, consumer: SqliteConsumer) -> None:
        """Renews this consumer's lease from now on, until it is closed or forgotten."""
        with self._guard:
            self._consumers.add(consumer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="event-log-heartbeat", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            with self._guard:
                living = [consumer for consumer in self._consumers if consumer.alive]
            silent_since = time.monotonic() - self._most_silence
            members = [consumer.member for consumer in living if consumer.member and consumer.active > silent_since]
            del living  # a consumer that nobody else holds any more shall be forgotten
            if not members:
                continue
            try:
                with self._file.writing() as connection:
                    renew(connection, members, time.time())
            except Unavailable as error:
                _log.warning("heartbeat_failed", problem=error.message)
