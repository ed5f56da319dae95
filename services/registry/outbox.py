"""Tells the event log what changed: the transactional outbox of the registry.

A change is a row, committed with what it tells. The publisher, one thread, appends rows to topic `regrow.registry` in the
order of their sequence and only then notes how far it came. So nothing that was committed is lost, whatever is killed when,
and after a crash the last batch may come a second time: readers skip a sequence that they have seen. Publishers of several
processes don't disturb each other: each begins behind the last noted change, so first occurrences stay in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from regrow.events.v1 import events_pb2
from services.common import tracing
from services.common.database import Database
from services.common.events.cloud_events import envelope
from services.common.events.outbox import OutboxThread
from services.common.events.port import REGISTRY, Event, EventLog
from services.registry.tables import ChangeRow, OutboxRow

EVENT_TYPE = "regrow.registry.v1"
SOURCE = "/regrow/registry"
_BATCH = 200


class Publisher:
    """Publishes in a thread of its own from `start` to `stop`. `wake` may be called from any thread."""

    def __init__(self, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events
        self._thread = OutboxThread("outbox", self.publish)

    def start(self) -> None:
        """Publishes what earlier processes left behind, then what comes."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed."""
        self._thread.wake()

    def stop(self) -> None:
        """Publishes what is there, then ends. What a log that is down doesn't take now is published after the next start."""
        self._thread.stop()

    def publish(self) -> int:
        """Publishes one batch; answers how many changes it had. Raises `EngineUnavailable`."""
        batch = self._pending()
        if batch:
            self._append(batch)
            self._note(batch[-1].sequence)
        return len(batch)

    def _append(self, batch: Sequence[ChangeRow]) -> None:
        sent = [tracing.sending_for(_cause(change), REGISTRY) for change in batch]
        with tracing.ended(*(span for _, span in sent)):
            self._events.append(REGISTRY, [_event(change, cause) for change, (cause, _) in zip(batch, sent, strict=True)])

    def _pending(self) -> Sequence[ChangeRow]:
        with self._database.reading() as session:
            published = sa.select(OutboxRow.published).scalar_subquery()
            query = sa.select(ChangeRow).where(ChangeRow.sequence > published).order_by(ChangeRow.sequence).limit(_BATCH)
            return session.scalars(query).all()

    def _note(self, sequence: int) -> None:
        with self._database.session() as session:
            session.execute(sa.update(OutboxRow).where(OutboxRow.published < sequence).values(published=sequence))


def _cause(change: ChangeRow) -> tracing.TraceContext:
    return tracing.TraceContext(request_id=change.request_id, traceparent=change.traceparent)


def _event(change: ChangeRow, cause: tracing.TraceContext) -> Event:
    payload = events_pb2.RegistryChange(
        sequence=change.sequence, change=change.kind, name=change.name, model=change.model, version=change.version,
        alias=change.alias,
    )  # fmt: skip
    payload.change_time.FromDatetime(change.changed)
    headers = envelope(
        id=str(change.sequence), type=EVENT_TYPE, source=SOURCE, time=change.changed, subject=change.name,
        extensions=tracing.extensions(cause),
    )  # fmt: skip
    return Event(key=change.model or change.name, value=payload.SerializeToString(), headers=headers)
