"""Audit events in the gateway's database, numbered in the order in which they are committed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.listing import FIRST_PAGE, Asked, Collection, Sort, text, time
from services.common.rpc.principal import ALL_PROJECTS, Principal, Role
from services.gateway.audit.rules import AuditEvent
from services.gateway.keys.storage import GatewayTable

_UNFIT = re.compile(r"[\x00-\x1f\x7f]")


class AuditRow(GatewayTable):
    """One event; written once."""

    __tablename__ = "audit_events"
    __table_args__ = (sa.Index("ix_audit_events_project_number", "project", "number"),)
    number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(sa.String(64))
    method: Mapped[str] = mapped_column(sa.String(200))
    resource: Mapped[str] = mapped_column(sa.String(1000))
    project: Mapped[str] = mapped_column(sa.String(200))
    key_id: Mapped[str] = mapped_column(sa.String(80), index=True)
    display_name: Mapped[str] = mapped_column(sa.String(200))
    subject: Mapped[str] = mapped_column(sa.String(255))
    role: Mapped[str] = mapped_column(sa.String(16))
    source: Mapped[str] = mapped_column(sa.String(100))
    outcome: Mapped[str] = mapped_column(sa.String(30))
    reason: Mapped[str] = mapped_column(sa.String(100))
    before: Mapped[str] = mapped_column(sa.Text)
    after: Mapped[str] = mapped_column(sa.Text)
    calls: Mapped[int] = mapped_column(sa.BigInteger)

    def noun(self) -> AuditEvent:
        """The event."""
        actor = Principal(
            key_id=self.key_id, role=cast(Role, self.role), projects=(), name=self.display_name, subject=self.subject
        )
        return AuditEvent(
            time=self.time, request_id=self.request_id, method=self.method, resource=self.resource, project=self.project,
            actor=actor, source=self.source, outcome=self.outcome, reason=self.reason, before=self.before, after=self.after,
            calls=self.calls,
        )  # fmt: skip


EVENTS = Collection(
    {
        "event_time": time(AuditRow.time), "request_id": text(AuditRow.request_id), "method": text(AuditRow.method),
        "resource": text(AuditRow.resource), "actor.key_id": text(AuditRow.key_id),
        "actor.display_name": text(AuditRow.display_name), "actor.subject": text(AuditRow.subject),
        "source_address": text(AuditRow.source), "outcome": text(AuditRow.outcome), "reason": text(AuditRow.reason),
    },
    key=[Sort(name="number", column=AuditRow.number, descending=True)],
)  # fmt: skip


class AuditOutboxRow(GatewayTable):
    """The one row that counts: the last number given, and the last one that is in the event log for certain.

    A writer holds its lock from giving a number to its commit, so numbers become visible in order and without gaps.
    """

    __tablename__ = "audit_outbox"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(sa.BigInteger)
    published: Mapped[int] = mapped_column(sa.BigInteger)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What listed events must be. `projects` are those that the viewer may see."""

    projects: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None
    actor: str = ""
    resource: str = ""
    method: str = ""
    outcome: str = ""


def add(session: Session, events: Sequence[AuditEvent]) -> None:
    """Inserts events behind the last one."""
    counted = sa.update(AuditOutboxRow).values(last=AuditOutboxRow.last + len(events)).returning(AuditOutboxRow.last)
    first = session.execute(counted).scalar_one() - len(events) + 1
    session.add_all(_row(first + index, event) for index, event in enumerate(events))
    session.flush()


def unpublished(session: Session, limit: int) -> Sequence[AuditRow]:
    """The oldest events that aren't in the event log for certain."""
    published = sa.select(AuditOutboxRow.published).scalar_subquery()
    return session.scalars(sa.select(AuditRow).where(AuditRow.number > published).order_by(AuditRow.number).limit(limit)).all()


def note_published(session: Session, number: int) -> None:
    """Notes how far the event log has come; never back."""
    session.execute(sa.update(AuditOutboxRow).where(AuditOutboxRow.published < number).values(published=number))


def page(session: Session, wanted: Filter, ask: Asked = FIRST_PAGE) -> tuple[list[AuditRow], str]:
    """A page, newest first, and the token of the next."""
    return EVENTS.page(session, sa.select(AuditRow).where(*_conditions(wanted)), ask, scope=repr(wanted))


def forget_before(session: Session, moment: datetime) -> int:
    """Removes older events that are published; answers how many."""
    published = sa.select(AuditOutboxRow.published).scalar_subquery()
    gone = session.execute(sa.delete(AuditRow).where(AuditRow.time < moment, AuditRow.number <= published))
    return int(gone.rowcount)  # type: ignore[attr-defined]


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if ALL_PROJECTS not in wanted.projects:
        found.append(AuditRow.project.in_(wanted.projects))
    if wanted.start is not None:
        found.append(AuditRow.time >= wanted.start)
    if wanted.end is not None:
        found.append(AuditRow.time < wanted.end)
    if wanted.actor:
        found.append(sa.or_(AuditRow.key_id == wanted.actor, AuditRow.subject == wanted.actor))
    if wanted.resource:
        inside = AuditRow.resource.startswith(f"{wanted.resource}/", autoescape=True)
        found.append(sa.or_(AuditRow.resource == wanted.resource, inside))
    if wanted.method:
        found.append(sa.or_(AuditRow.method == wanted.method, AuditRow.method.endswith(f"/{wanted.method}", autoescape=True)))
    if wanted.outcome:
        found.append(AuditRow.outcome == wanted.outcome.upper())
    return found


def _row(number: int, event: AuditEvent) -> AuditRow:
    actor = event.actor
    return AuditRow(
        number=number, time=event.time, request_id=_clean(event.request_id, 64), method=event.method,
        resource=_clean(event.resource, 1000), project=_clean(event.project, 200), key_id=_clean(actor.key_id, 80),
        display_name=_clean(actor.name, 200), subject=_clean(actor.subject, 255), role=actor.role,
        source=_clean(event.source, 100), outcome=event.outcome, reason=event.reason[:100], before=event.before,
        after=event.after, calls=event.calls,
    )  # fmt: skip


def _clean(text: str, length: int) -> str:
    """What callers sent, as PostgreSQL can keep it and a terminal can show it."""
    return _UNFIT.sub("\ufffd", text[:length])
