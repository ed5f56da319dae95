"""What a run is and where it may go from where it is. Pure.

queued -> running -> succeeded | failed | cancelled
queued -> cancelled
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.training.designs import Schedule

RUN = "projects/{project}/runs/{run}"
MODEL = "projects/{project}/models/{model}"
LABEL_SET = "projects/{project}/datasets/{dataset}/labelSets/{label_set}"


class State(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run as it is submitted, checked and complete. `origin` is what the receipt says of a regrowth."""

    name: str
    project: str
    label_set: str
    model: str
    problem_spec: str
    dataset_version: str
    template: str
    schedule: Schedule
    seed: int
    express: bool
    origin: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run with what became of it. `report` is what `services.training.fit` reports, empty until it ended well."""

    name: str
    label_set: str
    model: str
    problem_spec: str
    dataset_version: str
    template: str
    schedule: Schedule
    seed: int
    origin: Mapping[str, Any]
    express: bool
    state: State
    cancelling: bool
    attempts: int
    version: str
    report: Mapping[str, Any]
    problem: str
    waiting_for: str
    created: datetime
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One event: `type` says which of the fields of `event` to read (`state`, `epoch`, `log`, `report`)."""

    sequence: int
    time: datetime
    event: Mapping[str, Any]
