"""What Prometheus hears of runs and their like: counted in the database when it asks, so that a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from services.common.database import Database
from services.common.metering import ReadWhenAsked
from services.training.policies.rules import State as RegrowthState
from services.training.runs.rules import State as RunState
from services.training.tables import BatchRow, FeedbackRow, RegrowthRow, RunRow

RUNS = ReadWhenAsked("regrow_runs", "Runs by state.", label="state", values=tuple(RunState))
REGROWTHS = ReadWhenAsked("regrow_regrowths", "Regrowths by state or outcome.", label="state", values=tuple(RegrowthState))
BATCHES = ReadWhenAsked("regrow_batch_predictions", "Batch predictions by state.", label="state", values=tuple(RunState))
WAITING = ReadWhenAsked("regrow_feedback_waiting_events", "Feedback that no regrowth has used yet.")


def read_from(database: Database) -> None:
    """Where the figures come from."""
    RUNS.read_by(lambda: _by_state(database, RunRow.state))
    REGROWTHS.read_by(lambda: _by_state(database, RegrowthRow.state))
    BATCHES.read_by(lambda: _by_state(database, BatchRow.state))
    WAITING.read_by(lambda: {"": _waiting(database)})


def _by_state(database: Database, state: sa.orm.InstrumentedAttribute[str]) -> Mapping[str, float]:
    with database.reading() as session:
        counts = session.execute(sa.select(state, sa.func.count()).group_by(state)).all()
    return {"": 0.0, **{str(one): float(count) for one, count in counts}}


def _waiting(database: Database) -> float:
    with database.reading() as session:
        return float(session.scalar(sa.select(sa.func.count()).select_from(FeedbackRow).where(~FeedbackRow.used)) or 0)
