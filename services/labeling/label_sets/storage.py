"""The table of label sets, and every query on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import now
from services.common.errors import NotFound
from services.common.listing import Asked, Collection, Sort, text, time
from services.labeling.label_sets.model import LabelSet
from services.labeling.tables import LabelingTable


class LabelSetRow(LabelingTable):
    """One label set; never changed. `content` is its canonical JSON."""

    __tablename__ = "label_sets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(300), unique=True)
    dataset: Mapped[str] = mapped_column(sa.String(200), index=True)
    problem_spec: Mapped[str] = mapped_column(sa.String(200))
    content: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(default=now)


LABEL_SETS = Collection(
    {"name": text(LabelSetRow.name), "problem_spec": text(LabelSetRow.problem_spec), "create_time": time(LabelSetRow.created)},
    key=[Sort(name="id", column=LabelSetRow.id, descending=True)],
)


def add_label_set(session: Session, label_set: LabelSet) -> None:
    """Adds a label set whose object is stored."""
    order = label_set.order
    row = LabelSetRow(name=label_set.name, dataset=order.parent, problem_spec=order.problem_spec, content=label_set.to_json())
    session.add(row)
    session.flush()


def exists(session: Session, name: str) -> bool:
    """Whether there is a label set of that name."""
    return session.scalar(sa.select(LabelSetRow.id).where(LabelSetRow.name == name)) is not None


def read_label_set(session: Session, name: str) -> LabelSet:
    """Raises `NotFound`."""
    row = session.scalars(sa.select(LabelSetRow).where(LabelSetRow.name == name)).one_or_none()
    if row is None:
        raise NotFound("label set", name)
    return _label_set(row)


def read_label_sets(session: Session, dataset: str, ask: Asked) -> tuple[list[LabelSet], str]:
    """A page of a data set's label sets, newest first, and the token of the next."""
    rows, token = LABEL_SETS.page(session, sa.select(LabelSetRow).where(LabelSetRow.dataset == dataset), ask, scope=dataset)
    return [_label_set(row) for row in rows], token


def label_sets_of(session: Session, dataset: str) -> Sequence[str]:
    """Names of the label sets that use a data set."""
    return session.scalars(sa.select(LabelSetRow.name).where(LabelSetRow.dataset == dataset).order_by(LabelSetRow.id)).all()


def forget_dataset(session: Session, dataset: str) -> None:
    """Removes the label sets of a data set that is being deleted."""
    session.execute(sa.delete(LabelSetRow).where(LabelSetRow.dataset == dataset))


def _label_set(row: LabelSetRow) -> LabelSet:
    return LabelSet.from_json(row.content, id=row.id, created=row.created)
