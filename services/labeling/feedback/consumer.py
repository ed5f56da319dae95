"""Two threads that carry the log into the database: one for predictions, one for feedback.

Both belong to the consumer group `labeling`, so any number of labeling processes share the partitions. A batch is one
transaction, which also stores how far the log is applied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from time import monotonic

import sqlalchemy as sa
import structlog

from services.common.database import Database, now
from services.common.errors import Unavailable
from services.common.events.consume import run_consumer
from services.common.events.port import FEEDBACK, PREDICTIONS, EventLog, Record
from services.labeling.feedback import meters
from services.labeling.feedback.events import read_feedback, read_prediction
from services.labeling.feedback.fates import FORGET_AT_ONCE, forget_issues, publish
from services.labeling.feedback.joining import apply_feedback, apply_predictions
from services.labeling.feedback.lag import GROUP, store_offsets
from services.labeling.feedback.storage import PredictionRow

KEEP_PREDICTIONS = timedelta(days=30)
_FORGET_EVERY = timedelta(hours=1)

_log = structlog.get_logger(__name__)


class FeedbackConsumer:
    """Applies predictions and feedback from `start()` until `stop()`."""

    def __init__(self, log: EventLog, database: Database, *, keep_predictions: timedelta = KEEP_PREDICTIONS) -> None:
        """`keep_predictions` is how long feedback can still name a prediction."""
        self._log = log
        self._database = database
        self._keep = keep_predictions
        self._forgotten = float("-inf")
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begins to apply. May be called once."""
        for topic, handle in ((PREDICTIONS, self.handle_predictions), (FEEDBACK, self.handle_feedback)):
            thread = threading.Thread(target=self._run, args=(topic, handle), name=f"labeling-{topic}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: timedelta = timedelta(seconds=10)) -> None:
        """Ends both threads after the batch that they are at."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout.total_seconds())

    def handle_predictions(self, records: Sequence[Record]) -> None:
        """One batch of `regrow.predictions`. Raises `InvalidInput` before anything is written where a record can't be read."""
        events = [read_prediction(record) for record in records]
        with self._database.session() as session:
            fates = apply_predictions(session, events, keep=self._keep)
            store_offsets(session, _after(records))
        publish(fates)
        self._forget()

    def handle_feedback(self, records: Sequence[Record]) -> None:
        """One batch of `regrow.feedback`. Raises `InvalidInput` before anything is written where a record can't be read."""
        events = [read_feedback(record) for record in records]
        with self._database.session() as session:
            fates = apply_feedback(session, events, keep=self._keep)
            store_offsets(session, _after(records))
        publish(fates)
        meters.measure(events, now())

    def _run(self, topic: str, handle: Callable[[Sequence[Record]], None]) -> None:
        run_consumer(self._log, [topic], GROUP, handle, self._stop)

    def _forget(self) -> None:
        """Now and then removes predictions that are too old to be named, and old issues, a bounded number at a time."""
        if monotonic() - self._forgotten < _FORGET_EVERY.total_seconds():
            return
        try:
            forgotten = forget_predictions(self._database, older_than=self._keep), forget_issues(self._database)
            if max(forgotten) < FORGET_AT_ONCE:
                self._forgotten = monotonic()
        except Unavailable as error:
            _log.warning("old_feedback_not_forgotten", problem=error.message)


def forget_predictions(database: Database, *, older_than: timedelta) -> int:
    """Removes the oldest predictions received before then, at most 5,000; answers how many. Subjects of feedback stay."""
    old = (
        sa.select(PredictionRow.model, PredictionRow.prediction)
        .where(PredictionRow.received < now() - older_than)
        .order_by(PredictionRow.received)
        .limit(FORGET_AT_ONCE)
    )
    with database.session() as session:
        result = session.execute(
            sa.delete(PredictionRow).where(sa.tuple_(PredictionRow.model, PredictionRow.prediction).in_(old))
        )
        return int(getattr(result, "rowcount", 0))


def _after(records: Sequence[Record]) -> dict[tuple[str, int], int]:
    """The offset after the last record of each partition."""
    ends: dict[tuple[str, int], int] = {}
    for record in records:
        partition = (record.topic, record.partition)
        ends[partition] = max(ends.get(partition, 0), record.offset + 1)
    return ends
