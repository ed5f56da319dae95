"""The loop of every consumer group: poll, handle, commit; wait while something is down; set poison aside.

A record is committed only after `handle` returned for it, or after it lies on the dead-letter topic. So each record is
handled at least once, and a handler must know an event that it has handled before (by its CloudEvents source and id).

What a handler raises decides what happens:

- `Unavailable`, `Busy`: the same records come again, after a growing pause, for as long as it takes.
- `InvalidInput`: the batch is handled record by record; the one that raises it again goes to the dead-letter topic.
- anything else: record by record; one that fails `MOST_ATTEMPTS` times goes to the dead-letter topic, so that a bug shows
  as a few dead letters (to `replay` after the fix) and not as a group that stands still.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.common import tracing
from services.common.errors import Busy, InvalidInput, RegrowError, Unavailable
from services.common.events.dead_letter import send_to_dead_letter
from services.common.events.port import Consumer, EventLog, Record
from services.common.metering import ENGINE_BUCKETS

Handle = Callable[[Sequence[Record]], None]

MOST_ATTEMPTS = 5
"""How often a record may fail for a reason that nobody foresaw."""

FIRST_PAUSE = timedelta(milliseconds=200)
LONGEST_PAUSE = timedelta(seconds=10)
REPORT_EVERY = timedelta(seconds=30)
RETENTION_EVERY = timedelta(minutes=10)

LAG = Gauge("regrow_consumer_lag_events", "Events that wait in the partitions of this member.", ["group", "topic"])
HANDLED = Counter("regrow_consumer_events", "Events that a group handled, by what came of it.", ["group", "topic", "outcome"])
SECONDS = Histogram("regrow_consumer_batch_seconds", "How long a batch took to handle.", ["group"], buckets=ENGINE_BUCKETS)

_MEASURE_EVERY = timedelta(seconds=5)
_REOPEN_AFTER = 10
"""Failures in a row."""

_POLL = timedelta(milliseconds=200)
_log = structlog.get_logger(__name__)


def run_consumer(
    log: EventLog,
    topics: Sequence[str],
    group: str,
    handle: Handle,
    stop: threading.Event,
    *,
    start: Literal["earliest", "latest"] = "earliest",
    max_records: int = 500,
    first_pause: timedelta = FIRST_PAUSE,
    on_lag: Callable[[int], None] | None = None,
) -> None:
    """Runs until `stop` is set and the batch at hand is done; no error of the log or of the handler ends it.

    `on_lag` hears every `REPORT_EVERY` how many records wait in this member's partitions; the log says it too. Applies the
    log's retention now and then. Raises `NotFound` for an unknown topic.
    """
    loop = _Loop(
        log=log,
        topic=",".join(sorted(topics)),
        group=group,
        handle=handle,
        stop=stop,
        max_records=max_records,
        first_pause=first_pause,
        on_lag=on_lag or (lambda lag: None),
    )
    while not stop.is_set():
        try:
            with closing(log.consumer(topics, group=group, start=start)) as consumer:
                loop.run(consumer)
        except Unavailable as error:
            loop.pause(error)


class _TryAgainError(Exception):
    """A record failed for no known reason and has attempts left."""


@dataclass(slots=True, kw_only=True)
class _Loop:
    """One member at work: its settings, and what went wrong lately."""

    log: EventLog
    topic: str
    group: str
    handle: Handle
    stop: threading.Event
    max_records: int
    first_pause: timedelta
    on_lag: Callable[[int], None]
    failures: int = 0
    failing: tuple[str, int, int] | None = None
    attempts: int = 0
    next_report: float = 0.0
    next_measure: float = 0.0
    next_retention: float = 0.0

    def run(self, consumer: Consumer) -> None:
        for outcome in ("handled", "dead_letter"):
            HANDLED.labels(self.group, self.topic, outcome)  # so that a rate has a zero to begin at
        while not self.stop.is_set():
            try:
                records = consumer.poll(timeout=_POLL, max_records=self.max_records)
                if records:
                    with SECONDS.labels(self.group).time():
                        self._handle_batch(consumer, records)
                consumer.commit()
                self.failures = 0
                self._keep_house(consumer)
            except Exception as error:
                self.pause(error)
                if self.failures % _REOPEN_AFTER == 0:
                    return  # the fault may lie in the consumer itself: another one is opened

    def pause(self, error: Exception) -> None:
        self.failures += 1
        seconds = min(LONGEST_PAUSE, self.first_pause * 2 ** min(self.failures - 1, 16)).total_seconds()
        if isinstance(error, Busy):
            seconds = max(seconds, error.retry_after.total_seconds())
        problem = error.message if isinstance(error, RegrowError) else type(error).__name__
        foreseen = isinstance(error, RegrowError | _TryAgainError)
        _log.warning(
            "consumer_waits", group=self.group, topic=self.topic, problem=problem, seconds=seconds,
            exc_info=None if foreseen else error,
        )  # fmt: skip
        self.stop.wait(seconds * random.uniform(0.8, 1.0))

    def _handle_batch(self, consumer: Consumer, records: Sequence[Record]) -> None:
        """Handles all of them, or goes back to the first one that isn't and raises why."""
        done = 0
        try:
            if len(records) > 1 and self._whole(records):
                done = len(records)
                for record in records:
                    self._count(record, "handled")
            while done < len(records):
                self._handle_one(records[done])
                done += 1
        except BaseException:
            consumer.seek({(record.topic, record.partition): record.offset for record in reversed(records[done:])})
            with suppress(Unavailable):
                consumer.commit()
            raise

    def _whole(self, records: Sequence[Record]) -> bool:
        """Whether the batch went through at once; if not, its records are handled one by one."""
        try:
            with tracing.handling(self.group, records):
                self.handle(records)
        except (Unavailable, Busy):
            raise
        except Exception as error:
            _log.warning("batch_refused", group=self.group, records=len(records), problem=_reason(error))
            return False
        return True

    def _handle_one(self, record: Record) -> None:
        try:
            with tracing.handling(self.group, [record]):
                self.handle([record])
        except (Unavailable, Busy):
            raise
        except InvalidInput as error:
            self._bury(record, error)
        except Exception as error:
            self._count_attempt(record, error)
            if self.attempts < MOST_ATTEMPTS:
                raise _TryAgainError from error
            self._bury(record, error)
        else:
            self._count(record, "handled")
        self.failing, self.attempts = None, 0

    def _count(self, record: Record, outcome: Literal["handled", "dead_letter"]) -> None:
        HANDLED.labels(self.group, record.topic, outcome).inc()

    def _count_attempt(self, record: Record, error: Exception) -> None:
        place = (record.topic, record.partition, record.offset)
        self.attempts = self.attempts + 1 if self.failing == place else 1
        self.failing = place
        _log.exception("record_failed", group=self.group, record=place, attempt=self.attempts, exc_info=error)

    def _bury(self, record: Record, error: Exception) -> None:
        send_to_dead_letter(self.log, record, reason=_reason(error), group=self.group)
        self._count(record, "dead_letter")
        place = (record.topic, record.partition, record.offset)
        _log.warning("dead_letter", group=self.group, record=place, reason=_reason(error))

    def _keep_house(self, consumer: Consumer) -> None:
        now = time.monotonic()
        if now >= self.next_measure:
            self.next_measure = now + _MEASURE_EVERY.total_seconds()
            lag = consumer.lag()
            LAG.labels(self.group, self.topic).set(lag)
            if now >= self.next_report:
                self.next_report = now + REPORT_EVERY.total_seconds()
                self.on_lag(lag)
                _log.info("consumer_lag", group=self.group, topic=self.topic, lag=lag)
        if now >= self.next_retention:
            self.next_retention = now + RETENTION_EVERY.total_seconds()
            self.log.apply_retention()


def _reason(error: Exception) -> str:
    """What a dead letter may say of an error: the words of the domain, never an unknown exception's text."""
    return f"{error.reason}: {error.message}" if isinstance(error, RegrowError) else f"INTERNAL: {type(error).__name__}"
