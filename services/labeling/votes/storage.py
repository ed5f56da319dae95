"""The ledger's one table. Nothing in it is ever changed: what alters a vote is a later entry that names it.

A `vote` says something about a row, or (feedback) about a subject that has no row yet. A `placement` gives such a vote its
row, from that position on. A `retraction` ends a vote, from that position on. So the state at any position is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import now
from services.labeling.tables import LabelingTable

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts only a column of type INTEGER by itself
_LOCK = 0x6C65_6467_6572  # "ledger", as PostgreSQL's advisory lock
_CHUNK = 5_000

T = TypeVar("T")


class Entry(StrEnum):
    """Kinds of ledger entries."""

    VOTE = "vote"
    RETRACTION = "retraction"
    PLACEMENT = "placement"


class LedgerEntry(LabelingTable):
    """One entry. `target` is the position of the vote that a retraction or a placement is about."""

    __tablename__ = "ledger"

    position: Mapped[int] = mapped_column(Position, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(sa.String(12))
    dataset: Mapped[str] = mapped_column(sa.String(200))
    labeler: Mapped[str] = mapped_column(sa.String(200))
    created: Mapped[datetime] = mapped_column(default=now)
    row: Mapped[int | None] = mapped_column(sa.BigInteger)
    target: Mapped[int | None] = mapped_column(sa.BigInteger, index=True)
    why: Mapped[str] = mapped_column(sa.Text, default="")
    vote_id: Mapped[str | None] = mapped_column(sa.String(700))
    classes: Mapped[str] = mapped_column(sa.Text, default="[]")
    against: Mapped[bool] = mapped_column(default=False)
    confidence: Mapped[float] = mapped_column(default=1.0)
    gold: Mapped[bool] = mapped_column(default=False)
    drawn: Mapped[str] = mapped_column(sa.String(8), default="found")
    annotator: Mapped[str] = mapped_column(sa.String(200), default="")
    model: Mapped[str | None] = mapped_column(sa.String(200))
    event_id: Mapped[str | None] = mapped_column(sa.String(400))
    subject: Mapped[str | None] = mapped_column(sa.String(450))
    topic: Mapped[str | None] = mapped_column(sa.String(100))
    partition: Mapped[int | None]
    log_offset: Mapped[int | None] = mapped_column(sa.BigInteger)
    observed: Mapped[datetime | None]
    fingerprint: Mapped[str | None] = mapped_column(sa.String(32))

    __table_args__ = (
        sa.UniqueConstraint("dataset", "vote_id"),
        sa.UniqueConstraint("model", "annotator", "event_id"),
        sa.Index(None, "dataset", "labeler", "row"),
        sa.Index(None, "model", "subject"),
        {"sqlite_autoincrement": True},
    )


# Without the class in between, a hundred thousand entries take a quarter of the time.
_TABLE = cast(sa.Table, LedgerEntry.__table__)


def hold(session: Session) -> None:
    """Makes this transaction the ledger's only writer, so that positions become visible in their order.

    SQLite has one writer anyway; on PostgreSQL a sequence alone would let a lower position appear after a higher one.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def insert_entries(session: Session, entries: Iterable[dict[str, object]]) -> None:
    """Appends many entries in their order. All must have the same keys."""
    for chunk in chunks(entries):
        session.execute(sa.insert(_TABLE), chunk)


def insert_entry(session: Session, **columns: object) -> int:
    """Appends one entry and answers its position."""
    return int(session.execute(sa.insert(LedgerEntry).values(**columns).returning(LedgerEntry.position)).scalar_one())


def chunks(items: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """Lists of at most `size`: databases bound the variables of one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def forget_dataset(session: Session, dataset: str) -> None:
    """Removes a deleted data set's entries: the one exception to append-only, for the rows that they speak of are gone."""
    session.execute(sa.delete(LedgerEntry).where(LedgerEntry.dataset == dataset))
