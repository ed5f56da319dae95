"""What batch predictions read and write in the database. Each function belongs to the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.common.database import now
from services.common.errors import AlreadyExists, FailedPrecondition, NotFound
from services.common.listing import FIRST_PAGE, Asked, Collection, Sort, choice, number, text, time
from services.common.tracing import TraceContext, current_context
from services.training.batch_predictions.rules import Batch, Chunk, NewBatch, Rows, added
from services.training.runs.rules import State
from services.training.tables import BatchChunkRow, BatchRow

MOST_ATTEMPTS = 25
"""One that was interrupted this often, and finished no chunk the last time, is the likely reason and is given up."""

BATCH_PREDICTIONS = Collection(
    {
        "name": text(BatchRow.name), "dataset_version": text(BatchRow.dataset_version), "model": text(BatchRow.model),
        "version": text(BatchRow.version), "row_filter": choice(BatchRow.rows, {rows.value: rows.value for rows in Rows}),
        "state": choice(BatchRow.state, {state.value: state.value for state in State}),
        "row_count": number(BatchRow.row_count), "rows_done": number(BatchRow.rows_done),
        "attempts": number(BatchRow.attempts), "create_time": time(BatchRow.created),
        "start_time": time(BatchRow.started, nullable=True), "end_time": time(BatchRow.ended, nullable=True),
    },
    key=[
        Sort(name="created", column=BatchRow.created, descending=True, is_time=True),
        Sort(name="name", column=BatchRow.name, descending=True),
    ],
)  # fmt: skip


def add_batch(session: Session, new: NewBatch) -> Batch:
    """Writes a queued one. Raises `AlreadyExists`."""
    if session.get(BatchRow, new.name) is not None:
        raise AlreadyExists("batch prediction", new.name)
    cause = current_context()
    row = BatchRow(
        name=new.name, project=new.project, dataset_version=new.dataset_version, model=new.model, version=new.version,
        rows=new.rows, label_set=new.label_set, state=State.QUEUED, request_id=cause.request_id,
        traceparent=cause.traceparent,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return _batch(row)


def get_batch(session: Session, name: str) -> Batch:
    """Raises `NotFound`."""
    return _batch(_row(session, name))


def cause_of(session: Session, name: str) -> TraceContext:
    """The call that submitted it. Raises `NotFound`."""
    row = _row(session, name)
    return TraceContext(request_id=row.request_id, traceparent=row.traceparent)


def newest(session: Session, project: str, ask: Asked = FIRST_PAGE) -> tuple[list[Batch], str]:
    """A page, newest first, and the token of the next. Those that came meanwhile change no page."""
    query = sa.select(BatchRow).where(BatchRow.project == project)
    rows, token = BATCH_PREDICTIONS.page(session, query, ask, scope=project)
    return [_batch(row) for row in rows], token


def unfinished(session: Session) -> list[str]:
    """Names of all that are queued or running, oldest first."""
    query = sa.select(BatchRow.name).where(BatchRow.state.in_([State.QUEUED, State.RUNNING]))
    return list(session.scalars(query.order_by(BatchRow.created)))


def start_attempt(session: Session, name: str) -> Batch:
    """Makes it running, one attempt more; one that ended or is to be cancelled stays as it is.

    Raises `FailedPrecondition` (`TOO_MANY_ATTEMPTS`) for one that was interrupted again and again and comes no further.
    """
    row = _row(session, name)
    if not State(row.state).ended and not row.cancelling:
        if row.attempts >= MOST_ATTEMPTS and row.rows_done == row.attempt_rows:
            raise FailedPrecondition(
                f"It was started {row.attempts} times and comes no further: the service or its machine stopped each time."
                " Score with a smaller design.",
                reason="TOO_MANY_ATTEMPTS",
            )
        row.state, row.attempts, row.started = State.RUNNING, row.attempts + 1, row.started or now()
        row.attempt_started, row.attempt_rows, row.waiting_for = now(), row.rows_done, ""
    return _batch(row)


def set_waiting(session: Session, name: str, what: str) -> None:
    """What it waits for; empty: nothing any more."""
    row = _row(session, name)
    if not State(row.state).ended:
        row.waiting_for = what


def set_row_count(session: Session, name: str, count: int) -> None:
    """How many rows there are to score."""
    _row(session, name).row_count = count


def add_chunk(session: Session, name: str, chunk: Chunk) -> None:
    """Keeps a finished chunk. Repeating it changes nothing."""
    if session.get(BatchChunkRow, (name, chunk.number)) is not None:
        return
    row = _row(session, name)
    kept = BatchChunkRow(
        batch=name, number=chunk.number, key=chunk.key, digest=chunk.digest, rows=chunk.rows, size=chunk.size,
        counts=dict(chunk.counts), unread=dict(chunk.unread),
    )  # fmt: skip
    session.add(kept)
    row.rows_done += chunk.rows
    row.size += chunk.size


def chunks(session: Session, name: str) -> list[Chunk]:
    """Those that are finished, in order."""
    query = sa.select(BatchChunkRow).where(BatchChunkRow.batch == name).order_by(BatchChunkRow.number)
    return [
        Chunk(
            number=one.number, key=one.key, digest=one.digest, rows=one.rows, size=one.size, counts=one.counts,
            unread=one.unread,
        )
        for one in session.scalars(query)
    ]  # fmt: skip


def ask_to_cancel(session: Session, name: str) -> Batch:
    """A queued one is cancelled at once, a running one when its process has ended."""
    row = _row(session, name)
    if row.state == State.QUEUED:
        _end(row, State.CANCELLED)
    elif row.state == State.RUNNING:
        row.cancelling = True
    return _batch(row)


def succeed(session: Session, name: str, notes: Sequence[str]) -> None:
    """Keeps the outcome. Repeating it changes nothing."""
    row = _row(session, name)
    if not State(row.state).ended:
        row.counts, row.notes = added([chunk.counts for chunk in chunks(session, name)]), list(notes)
        _end(row, State.SUCCEEDED)


def fail(session: Session, name: str, problem: str) -> None:
    """Keeps why. Repeating it changes nothing."""
    row = _row(session, name)
    if not State(row.state).ended:
        row.problem = problem
        _end(row, State.FAILED)


def cancelled(session: Session, name: str) -> None:
    """The process of one that was to be cancelled has ended."""
    row = _row(session, name)
    if not State(row.state).ended:
        _end(row, State.CANCELLED)


def _end(row: BatchRow, state: State) -> None:
    row.state, row.ended, row.cancelling, row.waiting_for = state, now(), False, ""


def _row(session: Session, name: str) -> BatchRow:
    row = session.get(BatchRow, name)
    if row is None:
        raise NotFound("batch prediction", name, "ListBatchPredictions shows those that exist.")
    return row


def _batch(row: BatchRow) -> Batch:
    return Batch(
        name=row.name, dataset_version=row.dataset_version, model=row.model, version=row.version, rows=Rows(row.rows),
        label_set=row.label_set, state=State(row.state), cancelling=row.cancelling, attempts=row.attempts,
        row_count=row.row_count, rows_done=row.rows_done, size=row.size, counts=row.counts or {},
        notes=tuple(row.notes or ()), problem=row.problem, waiting_for=row.waiting_for, created=row.created,
        started=row.started, ended=row.ended, attempt_started=row.attempt_started, attempt_rows=row.attempt_rows,
    )  # fmt: skip
