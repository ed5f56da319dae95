"""What a batch prediction is and where it may go from where it is. Pure.

queued -> running -> succeeded | failed | cancelled
queued -> cancelled
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.bundle.values import Input, none_of
from services.common.errors import InvalidField
from services.training.runs.rules import State

BATCH_PREDICTION = "projects/{project}/batchPredictions/{batch_prediction}"
DATASET_VERSION = "projects/{project}/datasets/{dataset}/versions/{version}"


class Rows(StrEnum):
    """Which rows are scored."""

    ALL = "all"
    UNLABELED = "unlabeled"
    HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch prediction as it is submitted, checked and settled. `label_set`: whose gold rows aren't scored, else empty."""

    name: str
    project: str
    dataset_version: str
    model: str
    version: str
    rows: Rows
    label_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch prediction with what became of it. `counts`: rows decided for each class, "" for abstentions.

    `attempt_rows` were done before the attempt that began at `attempt_started`.
    """

    name: str
    dataset_version: str
    model: str
    version: str
    rows: Rows
    label_set: str
    state: State
    cancelling: bool
    attempts: int
    row_count: int
    rows_done: int
    size: int
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    problem: str
    waiting_for: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    attempt_started: datetime | None
    attempt_rows: int

    def rows_per_second(self, now: datetime) -> float:
        """Since the attempt began; 0 before the first chunk of it."""
        if self.attempt_started is None:
            return 0.0
        seconds = ((self.ended or now) - self.attempt_started).total_seconds()
        return (self.rows_done - self.attempt_rows) / seconds if seconds > 0 else 0.0

    def seconds_left(self, now: datetime) -> float | None:
        """About, by the rate so far; None where it doesn't run or isn't known."""
        rate = self.rows_per_second(now)
        return (self.row_count - self.rows_done) / rate if self.state is State.RUNNING and rate > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One finished object of the result, `rows` rows of it. `unread`: cells per column that couldn't be read."""

    number: int
    key: str
    digest: str
    rows: int
    size: int
    counts: Mapping[str, int]
    unread: Mapping[str, int]


def check_columns(inputs: Sequence[Input], columns: Container[str]) -> None:
    """Raises `InvalidField` for a data set version without any column of the model: each row would be scored from nothing."""
    if not any(one.name in columns for one in inputs):
        raise InvalidField("batch_prediction.dataset_version", none_of(inputs))


def added(parts: list[Mapping[str, int]]) -> dict[str, int]:
    """Counts summed by name, the largest first."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))
