"""Counts feedback as it arrives, each event once, and wakes the policies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC

from google.protobuf.message import DecodeError

from regrow.events.v1 import events_pb2
from services.common import tracing
from services.common.database import Database
from services.common.errors import InvalidField
from services.common.events.consume import run_consumer
from services.common.events.port import FEEDBACK, EventLog, Record
from services.training.policies import storage
from services.training.policies.storage import Counted

GROUP = "training"

Causes = Mapping[str, tracing.TraceContext]
"""By model: the call that sent the newest of its feedback."""


class FeedbackCounter:
    """A member of the group `training`. `counted` is called after feedback was counted, with who sent it."""

    def __init__(self, log: EventLog, database: Database, counted: Callable[[Causes], None]) -> None:
        self._log, self._database, self._counted = log, database, counted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feedback-counter", daemon=True)

    def start(self) -> None:
        """Begins to consume."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the batch at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        run_consumer(self._log, [FEEDBACK], GROUP, self._count, self._stop)

    def _count(self, records: Sequence[Record]) -> None:
        feedback = [_counted(record) for record in records]
        with self._database.session() as session:
            storage.count(session, feedback)
        contexts = (tracing.context_of(record.headers) for record in records)
        self._counted({one.model: context for one, context in zip(feedback, contexts, strict=True) if context})


def _counted(record: Record) -> Counted:
    try:
        event = events_pb2.Feedback.FromString(record.value)
    except DecodeError:
        raise InvalidField("value", "isn't a regrow.events.v1.Feedback message.") from None
    if not event.model or not event.event_id:
        raise InvalidField("event_id" if event.model else "model", "is missing.")
    accepted = event.accept_time.ToDatetime(UTC) if event.HasField("accept_time") else record.time
    return Counted(
        model=event.model, event_id=event.event_id, partition=record.partition, offset=record.offset, accepted=accepted
    )
