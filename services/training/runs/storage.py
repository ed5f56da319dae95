"""What runs read and write in the database. Each function belongs to the session that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.common.database import now
from services.common.errors import AlreadyExists, FailedPrecondition, NotFound
from services.common.listing import FIRST_PAGE, Asked, Collection, Sort, choice, number, text, time
from services.common.tracing import TraceContext, current_context
from services.training.designs import from_json, to_json
from services.training.runs.rules import NewRun, Run, RunEvent, State
from services.training.tables import RunEventRow, RunRow

MOST_ATTEMPTS = 25
"""A run that was interrupted this often is the likely reason, and is given up."""


_FIELDS = {
    "name": text(RunRow.name), "label_set": text(RunRow.label_set), "model": text(RunRow.model),
    "problem_spec": text(RunRow.problem_spec), "dataset_version": text(RunRow.dataset_version),
    "state": choice(RunRow.state, {state.value: state.value for state in State}),
    "priority": choice(RunRow.express, {"standard": False, "express": True}), "version": text(RunRow.version),
    "attempts": number(RunRow.attempts), "create_time": time(RunRow.created),
    "start_time": time(RunRow.started, nullable=True), "end_time": time(RunRow.ended, nullable=True),
}  # fmt: skip
_LOWEST = -1.7e308
"""Stands for no score: below every one."""
RUNS = Collection(
    _FIELDS,
    key=[
        Sort(name="created", column=RunRow.created, descending=True, is_time=True),
        Sort(name="name", column=RunRow.name, descending=True),
    ],
)
LEADERBOARD = Collection(
    _FIELDS,
    key=[
        Sort(name="rank", column=sa.func.coalesce(RunRow.rank, _LOWEST), descending=True),
        Sort(name="created", column=RunRow.created, descending=True, is_time=True),
        Sort(name="name", column=RunRow.name),
    ],
)


def add_run(session: Session, new: NewRun) -> Run:
    """Writes a queued run with its first event. Raises `AlreadyExists`."""
    if session.get(RunRow, new.name) is not None:
        raise AlreadyExists("run", new.name)
    cause = current_context()
    row = RunRow(
        name=new.name, project=new.project, label_set=new.label_set, model=new.model, problem_spec=new.problem_spec,
        dataset_version=new.dataset_version, template=new.template, schedule=to_json(new.schedule), seed=new.seed,
        origin=dict(new.origin), express=new.express, state=State.QUEUED, report={},
        request_id=cause.request_id, traceparent=cause.traceparent,
    )  # fmt: skip
    session.add(row)
    session.flush()
    add_event(session, new.name, {"type": "state", "state": State.QUEUED})
    return _run(row)


def get_run(session: Session, name: str) -> Run:
    """Raises `NotFound`."""
    return _run(_row(session, name))


def cause_of(session: Session, name: str) -> TraceContext:
    """The call that submitted the run. Raises `NotFound`."""
    row = _row(session, name)
    return TraceContext(request_id=row.request_id, traceparent=row.traceparent)


def newest(session: Session, project: str, ask: Asked = FIRST_PAGE, *, model: str = "") -> tuple[list[Run], str]:
    """A page, newest first, and the token of the next. Runs that came meanwhile change no page."""
    rows, token = RUNS.page(session, _of(project, model), ask, scope=f"{project} {model}")
    return [_run(row) for row in rows], token


def leaderboard(
    session: Session, project: str, ask: Asked = FIRST_PAGE, *, label_set: str, model: str = ""
) -> tuple[list[Run], str]:
    """A page, best first, and the token of the next; runs without a score come last."""
    query = _of(project, model).where(RunRow.label_set == label_set)
    rows, token = LEADERBOARD.page(session, query, ask, scope=f"{project} {model} {label_set}")
    return [_run(row) for row in rows], token


def unfinished(session: Session) -> list[Run]:
    """All that are queued or running, oldest first."""
    query = sa.select(RunRow).where(RunRow.state.in_([State.QUEUED, State.RUNNING])).order_by(RunRow.created)
    return [_run(row) for row in session.scalars(query)]


def start_attempt(session: Session, name: str) -> Run:
    """Makes the run running, one attempt more; a run that ended or is to be cancelled stays as it is.

    Raises `FailedPrecondition` (`TOO_MANY_ATTEMPTS`) for a run that was interrupted again and again.
    """
    row = _row(session, name)
    if not State(row.state).ended and not row.cancelling:
        if row.attempts >= MOST_ATTEMPTS:
            raise FailedPrecondition(
                f"The run was started {row.attempts} times and never came to an end: the service or its machine stopped each"
                " time. Choose a smaller design, or fewer rows.",
                reason="TOO_MANY_ATTEMPTS",
            )
        row.state, row.attempts, row.started = State.RUNNING, row.attempts + 1, row.started or now()
        row.waiting_for = ""
        if row.attempts > 1:
            add_event(session, name, {"type": "log", "message": "Training was interrupted and starts again."})
        else:
            add_event(session, name, {"type": "state", "state": State.RUNNING})
    return _run(row)


def set_waiting(session: Session, name: str, what: str) -> None:
    """What it waits for, also as an event; empty: nothing any more. Repeating it changes nothing."""
    row = _row(session, name)
    if not State(row.state).ended and row.waiting_for != what:
        row.waiting_for = what
        add_event(session, name, {"type": "log", "message": f"It waits for {what}." if what else "It goes on."})


def ask_to_cancel(session: Session, name: str) -> Run:
    """A queued run is cancelled at once, a running one when its process has ended."""
    row = _row(session, name)
    if row.state == State.QUEUED:
        _end(session, row, State.CANCELLED)
    elif row.state == State.RUNNING:
        row.cancelling = True
    return _run(row)


def succeed(session: Session, name: str, *, version: str, report: Mapping[str, Any], rank: float | None) -> None:
    """Keeps the outcome. Repeating it changes nothing."""
    row = _row(session, name)
    if not State(row.state).ended:
        row.version, row.report, row.rank = version, dict(report), rank
        add_event(session, name, {"type": "report", "report": dict(report)})
        _end(session, row, State.SUCCEEDED)


def fail(session: Session, name: str, problem: str) -> None:
    """Keeps why. Repeating it changes nothing."""
    row = _row(session, name)
    if not State(row.state).ended:
        row.problem = problem
        add_event(session, name, {"type": "log", "message": problem})
        _end(session, row, State.FAILED)


def cancelled(session: Session, name: str) -> None:
    """The process of a run that was to be cancelled has ended."""
    row = _row(session, name)
    if not State(row.state).ended:
        _end(session, row, State.CANCELLED)


def add_event(session: Session, run: str, event: Mapping[str, Any]) -> None:
    """Appends with the next sequence number."""
    last = session.scalar(sa.select(sa.func.max(RunEventRow.sequence)).where(RunEventRow.run == run)) or 0
    session.add(RunEventRow(run=run, sequence=last + 1, event=dict(event)))
    session.flush()


def events_after(session: Session, run: str, sequence: int, limit: int = 500) -> Sequence[RunEvent]:
    """In order."""
    query = sa.select(RunEventRow).where(RunEventRow.run == run, RunEventRow.sequence > sequence)
    rows = session.scalars(query.order_by(RunEventRow.sequence).limit(limit))
    return [RunEvent(sequence=row.sequence, time=row.time, event=row.event) for row in rows]


def _of(project: str, model: str) -> sa.Select[RunRow]:
    query = sa.select(RunRow).where(RunRow.project == project)
    return query.where(RunRow.model == model) if model else query


def _end(session: Session, row: RunRow, state: State) -> None:
    row.state, row.ended, row.cancelling, row.waiting_for = state, now(), False, ""
    add_event(session, row.name, {"type": "state", "state": state})


def _row(session: Session, name: str) -> RunRow:
    row = session.get(RunRow, name)
    if row is None:
        raise NotFound("run", name, "ListRuns shows those that exist.")
    return row


def _run(row: RunRow) -> Run:
    return Run(
        name=row.name, label_set=row.label_set, model=row.model, problem_spec=row.problem_spec,
        dataset_version=row.dataset_version, template=row.template, schedule=from_json(row.schedule), seed=row.seed,
        origin=row.origin, express=row.express, state=State(row.state), cancelling=row.cancelling, attempts=row.attempts,
        version=row.version, report=row.report or {}, problem=row.problem, waiting_for=row.waiting_for,
        created=row.created, started=row.started, ended=row.ended,
    )  # fmt: skip
