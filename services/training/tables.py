"""The tables of training: runs with their events, policies with their regrowths, and the feedback that waits.

`migrations/` makes exactly these tables; a test compares. DBOS keeps its own in a database of its own.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column

from services.common.database import Table, UtcDateTime, new_metadata, now
from services.common.idempotency import IdempotencyColumns

NAME = sa.String(400)
ID = sa.String(63)


class Json(sa.TypeDecorator[Any]):
    """Plain data as JSON text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """To the database."""
        return json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        return json.loads(value)


class TrainingTable(Table):
    """Root of training's tables."""

    __abstract__ = True
    metadata = new_metadata()


class RunRow(TrainingTable):
    """One run. `rank` is the selection score turned so that more is better; null until it is known."""

    __tablename__ = "runs"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    project: Mapped[str] = mapped_column(ID, index=True)
    label_set: Mapped[str] = mapped_column(NAME, index=True)
    model: Mapped[str] = mapped_column(NAME, index=True)
    problem_spec: Mapped[str] = mapped_column(NAME)
    dataset_version: Mapped[str] = mapped_column(NAME)
    template: Mapped[str] = mapped_column(sa.String(100), default="")
    schedule: Mapped[Any] = mapped_column(Json, default=dict)
    seed: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    origin: Mapped[Any] = mapped_column(Json, default=dict)
    express: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(sa.String(20))
    cancelling: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    version: Mapped[str] = mapped_column(NAME, default="")
    report: Mapped[Any] = mapped_column(Json, default=dict)
    rank: Mapped[float | None] = mapped_column(sa.Float)
    problem: Mapped[str] = mapped_column(sa.Text, default="")
    waiting_for: Mapped[str] = mapped_column(sa.Text, default="")
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(sa.String(64), default="")
    traceparent: Mapped[str] = mapped_column(sa.String(64), default="")


class RunEventRow(TrainingTable):
    """One event of a run, as plain data."""

    __tablename__ = "run_events"

    run: Mapped[str] = mapped_column(NAME, primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    event: Mapped[Any] = mapped_column(Json)


class PolicyRow(TrainingTable):
    """The policy of a model; a model has at most one."""

    __tablename__ = "policies"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    project: Mapped[str] = mapped_column(ID, index=True)
    model: Mapped[str] = mapped_column(NAME, unique=True)
    rules: Mapped[Any] = mapped_column(Json)
    etag: Mapped[str] = mapped_column(sa.String(32))
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class RegrowthRow(TrainingTable):
    """One pass of the loop. `active` is the model while it runs and null afterwards: so a model has one at a time."""

    __tablename__ = "regrowths"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    policy: Mapped[str] = mapped_column(NAME, index=True)
    model: Mapped[str] = mapped_column(NAME)
    number: Mapped[int] = mapped_column()
    active: Mapped[str | None] = mapped_column(NAME, unique=True)
    state: Mapped[str] = mapped_column(sa.String(20))
    trigger: Mapped[str] = mapped_column(sa.Text)
    cut: Mapped[Any] = mapped_column(Json)
    label_set: Mapped[str] = mapped_column(NAME, default="")
    feedback_votes: Mapped[int] = mapped_column(default=0)
    run: Mapped[str] = mapped_column(NAME, default="")
    champion: Mapped[str] = mapped_column(NAME, default="")
    challenger: Mapped[str] = mapped_column(NAME, default="")
    comparison: Mapped[Any] = mapped_column(Json, default=dict)
    decision: Mapped[str] = mapped_column(sa.Text, default="")
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(sa.String(64), default="")
    traceparent: Mapped[str] = mapped_column(sa.String(64), default="")


class FeedbackRow(TrainingTable):
    """Feedback by event id, each once: it waits until a regrowth's cut has used it."""

    __tablename__ = "feedback"
    __table_args__ = (sa.Index("ix_feedback_model_used", "model", "used"),)

    model: Mapped[str] = mapped_column(NAME, primary_key=True)
    event_id: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    partition: Mapped[int] = mapped_column()
    offset: Mapped[int] = mapped_column(sa.BigInteger)
    accepted: Mapped[datetime] = mapped_column(UtcDateTime)
    used: Mapped[bool] = mapped_column(default=False)


class ReadOffsetRow(TrainingTable):
    """How far the feedback topic was read, kept in the transaction that counts it: nothing is counted twice."""

    __tablename__ = "read_offsets"

    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset: Mapped[int] = mapped_column(sa.BigInteger)


class IdempotencyKey(IdempotencyColumns, TrainingTable):
    """Calls that carried a request_id."""

    __tablename__ = "idempotency_keys"


class BatchRow(TrainingTable):
    """One batch prediction. `attempt_rows` were done before the attempt that began at `attempt_started`."""

    __tablename__ = "batch_predictions"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    project: Mapped[str] = mapped_column(ID, index=True)
    dataset_version: Mapped[str] = mapped_column(NAME)
    model: Mapped[str] = mapped_column(NAME)
    version: Mapped[str] = mapped_column(NAME)
    rows: Mapped[str] = mapped_column(sa.String(20))
    label_set: Mapped[str] = mapped_column(NAME, default="")
    state: Mapped[str] = mapped_column(sa.String(20))
    cancelling: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    attempt_started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempt_rows: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    row_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    rows_done: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    size: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    counts: Mapped[Any] = mapped_column(Json, default=dict)
    notes: Mapped[Any] = mapped_column(Json, default=list)
    problem: Mapped[str] = mapped_column(sa.Text, default="")
    waiting_for: Mapped[str] = mapped_column(sa.Text, default="")
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(sa.String(64), default="")
    traceparent: Mapped[str] = mapped_column(sa.String(64), default="")


class BatchChunkRow(TrainingTable):
    """One finished chunk of a batch prediction's result."""

    __tablename__ = "batch_prediction_chunks"

    batch: Mapped[str] = mapped_column(NAME, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(NAME)
    digest: Mapped[str] = mapped_column(sa.String(80))
    rows: Mapped[int] = mapped_column()
    size: Mapped[int] = mapped_column(sa.BigInteger)
    counts: Mapped[Any] = mapped_column(Json)
    unread: Mapped[Any] = mapped_column(Json)
