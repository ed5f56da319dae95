"""An event id is known for as long as the database is kept: over restarts, and long after the log has let go of the event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from services.common.database import open_database
from services.common.events import SqliteLog
from services.common.events.port import FEEDBACK, TOPICS
from services.labeling import app
from services.labeling.feedback.consumer import KEEP_PREDICTIONS, FeedbackConsumer
from services.labeling.feedback.handlers import Feedback
from services.labeling.votes.ledger import list_votes

MODEL = "projects/shop/models/spam"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
AT_LEAST = timedelta(days=7)
KEPT_IN_LOG = next(topic.retention for topic in TOPICS if topic.name == FEEDBACK)


@contextmanager
def life(world: Any, production: Any, after: timedelta) -> Iterator[Any]:
    """A labeling process that starts so long after the first one, on the same database and log, and ends."""
    with (
        time_machine.travel(BEGIN + after, tick=True),
        closing(open_database(world.url, migrations=app.MIGRATIONS)) as database,
        closing(SqliteLog(world.folder / "events.db")) as log,
    ):
        log.apply_retention()
        later = replace(world, database=database, log=log)
        consumer = FeedbackConsumer(log, database, keep_predictions=KEEP_PREDICTIONS)
        yield replace(production, world=later, consumer=consumer, feedback=Feedback(database, log), sent=[])


def send(production: Any) -> None:
    """The same three events as ever: about a known prediction, with features, about a prediction that never was."""
    production.label("known", "p1")
    production.label("inline", features={"comment": "win free money", "likes": 7})
    production.label("waiting", "never was")
    production.apply()


def test_an_event_sent_again_counts_once_over_restarts_and_after_the_log_let_go_of_it(world, production) -> None:
    with life(world, production, timedelta()) as first:
        first.predict("p1")
        send(first)
    times = [timedelta(hours=1), timedelta(days=6.9), AT_LEAST, KEPT_IN_LOG + timedelta(days=1), timedelta(days=400)]
    for number, after in enumerate(times, 1):
        with life(world, production, after) as now:
            now.predict(f"another {number}")
            send(now)
            assert now.feedback.applied_events(MODEL) == (["known", "inline"], ["waiting"])
            assert now.feedback.stats(MODEL).fates["REPEATED"] == 3 * number
    with world.database.reading() as session:
        assert len(list_votes(session, world.dataset, limit=10)) == 2


def test_the_log_had_let_go_of_the_first_ones_and_the_prediction_was_forgotten(world, production) -> None:
    with life(world, production, timedelta()) as first:
        first.predict("p1")
        send(first)
        assert first.feedback.stats(MODEL).predictions == 1
    with life(world, production, max(KEPT_IN_LOG, KEEP_PREDICTIONS) + timedelta(days=1)) as later:
        reader = later.world.log.consumer([FEEDBACK])
        with closing(reader):
            assert reader.poll(timeout=timedelta(), max_records=10) == []
        later.predict("p2")
        later.apply()
        assert later.feedback.stats(MODEL).predictions == 1
        send(later)
        assert later.feedback.stats(MODEL).votes == 2


@pytest.mark.parametrize("after", [AT_LEAST, KEPT_IN_LOG + timedelta(days=1)])
def test_another_event_under_a_used_id_is_told_as_that_long_after(world, production, after: timedelta) -> None:
    with life(world, production, timedelta()) as first:
        first.predict("p1")
        send(first)
    with life(world, production, after) as later:
        later.label("known", "p1", ("ham",))
        later.apply()
        assert later.feedback.stats(MODEL).fates["REUSED_ID"] == 1
        with later.world.database.reading() as session:
            assert {vote.classes for vote in list_votes(session, world.dataset, limit=10)} == {("spam",)}
