"""Operations in the gateway's own database. A gateway holds what it runs by a lease, so of many gateways one runs each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import now
from services.common.errors import FailedPrecondition, NotFound
from services.common.listing import Asked, Collection, Sort, choice, flag, text, time
from services.common.rpc.principal import decode, encode
from services.gateway.keys.storage import GatewayTable
from services.gateway.operations.rules import LEASE, Operation, State


class OperationRow(GatewayTable):
    """One operation."""

    __tablename__ = "operations"

    id: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    project: Mapped[str] = mapped_column(sa.String(63), index=True)
    method: Mapped[str] = mapped_column(sa.String(200))
    request: Mapped[bytes] = mapped_column(sa.LargeBinary)
    request_id: Mapped[str] = mapped_column(sa.String(200))
    principal: Mapped[str] = mapped_column(sa.Text)
    created_by: Mapped[str] = mapped_column(sa.String(200))
    state: Mapped[str] = mapped_column(sa.String(12), index=True)
    created: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)
    runner: Mapped[str] = mapped_column(sa.String(63), default="")
    lease: Mapped[datetime | None]
    cancelling: Mapped[bool] = mapped_column(default=False)
    started: Mapped[datetime | None]
    ended: Mapped[datetime | None] = mapped_column(index=True)
    response: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    status: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    source: Mapped[str] = mapped_column(sa.String(100), default="")


_OPEN = OperationRow.ended.is_(None)
OPERATIONS = Collection(
    {
        "done": flag(OperationRow.ended.is_not(None)), "metadata.method": text(OperationRow.method),
        "metadata.state": choice(OperationRow.state, {state.value: state.value for state in State}),
        "metadata.request_id": text(OperationRow.request_id), "metadata.created_by": text(OperationRow.created_by),
        "metadata.create_time": time(OperationRow.created), "metadata.end_time": time(OperationRow.ended, nullable=True),
    },
    key=[
        Sort(name="created", column=OperationRow.created, descending=True, is_time=True),
        Sort(name="id", column=OperationRow.id),
    ],
)  # fmt: skip


def add(session: Session, operation: Operation) -> None:
    """Inserts one that waits."""
    session.add(
        OperationRow(
            id=operation.id, project=operation.project, method=operation.method, request=operation.request,
            request_id=operation.request_id, principal=encode(operation.principal), state=operation.state,
            created_by=(operation.principal.name or operation.principal.key_id)[:200], runner=operation.runner,
            lease=operation.lease, created=operation.created, source=operation.source[:100],
        )
    )  # fmt: skip
    session.flush()


def find(session: Session, operation_id: str) -> Operation | None:
    """The operation, or None."""
    row = session.get(OperationRow, operation_id)
    return None if row is None else _operation(row)


def read(session: Session, project: str, operation_id: str) -> Operation:
    """Raises `NotFound`, for one of another project too."""
    return _operation(_row(session, project, operation_id))


def waiting(session: Session) -> int:
    """How many haven't ended."""
    return session.scalar(sa.select(sa.func.count()).select_from(OperationRow).where(_OPEN)) or 0


def page(session: Session, project: str, ask: Asked) -> tuple[list[Operation], str]:
    """A page, newest first, and the token of the next."""
    rows, token = OPERATIONS.page(session, sa.select(OperationRow).where(OperationRow.project == project), ask, scope=project)
    return [_operation(row) for row in rows], token


def start_attempt(session: Session, operation_id: str, runner: str) -> Operation | None:
    """Makes it running, one attempt more; None where it ended, is to be cancelled, or is somebody else's by now."""
    row = session.get(OperationRow, operation_id)
    if row is None or row.ended is not None or row.cancelling or row.runner != runner:
        return None
    moment = now()
    row.state, row.attempts, row.lease, row.started = State.RUNNING, row.attempts + 1, moment + LEASE, row.started or moment
    session.flush()
    return _operation(row)


def finish(
    session: Session, operation_id: str, state: State, *, response: bytes | None = None, status: bytes | None = None
) -> None:
    """Keeps the outcome; one that ended stays as it is."""
    row = session.get(OperationRow, operation_id)
    if row is not None and row.ended is None:
        row.state, row.ended, row.response, row.status, row.lease = state, now(), response, status, None


def release(session: Session, runner: str) -> None:
    """Gives back what a gateway that stops has not ended: the next one may take it at once."""
    session.execute(sa.update(OperationRow).where(_OPEN, OperationRow.runner == runner).values(lease=None))


def ask_to_cancel(session: Session, project: str, operation_id: str) -> Operation:
    """Marks it; whoever runs it sees that within seconds. One that ended stays as it is. Raises `NotFound`."""
    row = _row(session, project, operation_id)
    if row.ended is None:
        row.cancelling = True
    return _operation(row)


def remove(session: Session, project: str, operation_id: str) -> None:
    """Forgets one that ended. Raises `NotFound`, `FailedPrecondition`."""
    row = _row(session, project, operation_id)
    if row.ended is None:
        raise FailedPrecondition("It still runs. Cancel it first, or wait for its end.", reason="OPERATION_RUNNING")
    session.delete(row)


def renew(session: Session, runner: str) -> Sequence[str]:
    """Renews the leases of a runner; answers which of its operations are to be cancelled."""
    mine = (OperationRow.runner == runner) & _OPEN
    session.execute(sa.update(OperationRow).where(mine).values(lease=now() + LEASE))
    return session.scalars(sa.select(OperationRow.id).where(mine, OperationRow.cancelling)).all()


def take_over(session: Session, runner: str, most: int) -> list[Operation]:
    """Leases what nobody has: oldest first. Another gateway that looks at the same moment gets others."""
    free = _OPEN & sa.or_(OperationRow.lease.is_(None), OperationRow.lease < now())
    query = sa.select(OperationRow).where(free).order_by(OperationRow.created).limit(most)
    rows = session.scalars(query.with_for_update(skip_locked=True)).all()
    for row in rows:
        row.runner, row.lease = runner, now() + LEASE
    session.flush()
    return [_operation(row) for row in rows]


def forget(session: Session, before: datetime) -> None:
    """Removes what ended before that moment."""
    session.execute(sa.delete(OperationRow).where(OperationRow.ended < before))


def _row(session: Session, project: str, operation_id: str) -> OperationRow:
    row = session.get(OperationRow, operation_id)
    if row is None or row.project != project:
        name = f"projects/{project}/operations/{operation_id}"
        raise NotFound("operation", name, "ListOperations shows those that exist; an ended one is forgotten after some days.")
    return row


def _operation(row: Any) -> Operation:
    return Operation(
        id=row.id, project=row.project, method=row.method, request=row.request, request_id=row.request_id,
        principal=decode(row.principal), state=State(row.state), created=row.created, attempts=row.attempts, source=row.source,
        runner=row.runner, lease=row.lease, cancelling=row.cancelling, started=row.started, ended=row.ended,
        response=row.response, status=row.status,
    )  # fmt: skip
