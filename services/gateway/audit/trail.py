"""Keeps audit events: one thread commits, in batches, what the calls hand over, and a call that changed something waits for it.

An event that can't be committed now is tried until it can; the call is answered after `PATIENCE_SECONDS` all the same, for
its change is made. While events wait for so long, further changes are refused before they are made. So what is lost is what
a killed gateway had not answered, and how often refusals were repeated in its last minute; whatever is left at an orderly
stop goes to the log, whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from prometheus_client import Counter

from services.common.database import Database, now
from services.common.errors import EngineUnavailable, Unavailable
from services.common.events.outbox import OutboxThread
from services.common.events.port import EventLog
from services.gateway.audit import storage
from services.gateway.audit.publishing import publish
from services.gateway.audit.repeats import WINDOW_SECONDS, Repeats
from services.gateway.audit.rules import AuditEvent

PATIENCE_SECONDS = 5.0
_MOST_WAITING = 5_000
_MOST_IN_A_BATCH = 200
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_PRUNE_SECONDS = 3600.0

EVENTS = Counter("regrow_gateway_audit_events", "Audit events, by what became of them: kept, or logged only.", ["fate"])
for _fate in ("kept", "logged"):
    EVENTS.labels(_fate)  # from 0: of a counter that appears with 1, Prometheus sees no increase

log = structlog.get_logger()
Done = Callable[[], None]


class Trail:
    """Safe for use from many threads, `record` from the event loop."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        *,
        days: int,
        patience: float = PATIENCE_SECONDS,
        repeat_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._database = database
        self._days = days
        self._patience = patience
        self._waiting: deque[tuple[AuditEvent, Done, float]] = deque()
        self._repeats = Repeats(seconds=repeat_seconds)
        self._changed = threading.Condition()
        self._closing = False
        self._pruned = 0.0
        self._outbox = OutboxThread("audit-outbox", lambda: publish(database, events))
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Also publishes what earlier processes left."""
        self._thread.start()
        self._outbox.start()

    def check(self) -> None:
        """Before a change. Raises `EngineUnavailable` where events can't be kept at the moment."""
        with self._changed:
            stuck = bool(self._waiting) and time.monotonic() - self._waiting[0][2] > self._patience
            full = len(self._waiting) >= _MOST_WAITING
        if stuck or full:
            raise EngineUnavailable(
                "audit log", "changes can't be recorded at the moment, so none is made", retry_after=timedelta(seconds=2)
            )

    async def record(self, event: AuditEvent) -> None:
        """Returns when the event is committed, or after `PATIENCE_SECONDS`, when it is tried further."""
        loop, committed = asyncio.get_running_loop(), asyncio.Event()

        def done() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(committed.set)

        self.offer(event, done)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await committed.wait()

    def offer(self, event: AuditEvent, done: Done = lambda: None) -> None:
        """Hands an event over. What there is no room for, or no thread any more, goes to the log."""
        with self._changed:
            room = len(self._waiting) < 2 * _MOST_WAITING and not self._closing
            if room:
                self._waiting.append((event, done, time.monotonic()))
                self._changed.notify()
        if not room:
            _log_instead(event)
            done()

    def offer_refusal(self, event: AuditEvent) -> None:
        """Hands over a refusal; one like it that came shortly before is counted with those that follow, as one event."""
        with self._changed:
            is_first = self._closing or self._repeats.is_first(event, time.monotonic())
        if is_first:
            self.offer(event)

    def close(self, seconds: float) -> None:
        """Commits what waits, within `seconds`; the rest goes to the log."""
        with self._changed:
            self._closing = True
            self._put_behind(self._repeats.rest())
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)
            self._outbox.stop()
        with self._changed:
            rest, self._waiting = self._waiting, deque()
        for event, done, _ in rest:
            _log_instead(event)
            done()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while batch := self._next():
            try:
                with self._database.session() as session:
                    storage.add(session, [event for event, _, _ in batch])
            except Unavailable as error:
                log.warning("audit events wait for the database", waiting=len(self._waiting), problem=error.message)
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except Exception:
                log.exception("audit events can't be kept")
                self._drop(batch, _log_instead)
                continue
            pause = _FIRST_PAUSE
            self._drop(batch, lambda _: EVENTS.labels("kept").inc())
            self._outbox.wake()
            self._prune()

    def _next(self) -> list[tuple[AuditEvent, Done, float]]:
        """The oldest events, which stay in the queue until they are committed; none when closed and empty."""
        with self._changed:
            while True:
                self._put_behind(self._repeats.due(time.monotonic()))
                if self._waiting or self._closing:
                    break
                self._changed.wait(self._repeats.seconds_left(time.monotonic()))
            return [self._waiting[index] for index in range(min(len(self._waiting), _MOST_IN_A_BATCH))]

    def _put_behind(self, events: Iterable[AuditEvent]) -> None:
        self._waiting.extend((event, lambda: None, time.monotonic()) for event in events)

    def _drop(self, batch: list[tuple[AuditEvent, Done, float]], with_each: Callable[[AuditEvent], None]) -> None:
        with self._changed:
            for _ in range(min(len(batch), len(self._waiting))):
                self._waiting.popleft()
        for event, done, _ in batch:
            with_each(event)
            done()

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)
        if self._closing:
            time.sleep(_FIRST_PAUSE)

    def _prune(self) -> None:
        """Once an hour, where something is written at all."""
        if time.monotonic() - self._pruned < _PRUNE_SECONDS and self._pruned:
            return
        self._pruned = time.monotonic()
        try:
            with self._database.session() as session:
                storage.forget_before(session, now() - timedelta(days=self._days))
        except Unavailable as error:
            log.warning("old audit events stay for another hour", problem=error.message)


def _log_instead(event: AuditEvent) -> None:
    EVENTS.labels("logged").inc()
    log.error(
        "audit event", time=event.time.isoformat(), request_id=event.request_id, method=event.method, resource=event.resource,
        key_id=event.actor.key_id, subject=event.actor.subject, source=event.source, outcome=event.outcome,
        reason=event.reason, before=event.before, after=event.after, calls=event.calls,
    )  # fmt: skip
