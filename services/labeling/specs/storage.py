"""The table of problem specs. A spec is never changed: a change is a new one that supersedes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import now
from services.common.errors import NotFound
from services.common.listing import Asked, Collection, Sort, text, time
from services.common.spec import ProblemSpec
from services.labeling.tables import LabelingTable


class SpecRow(LabelingTable):
    """One spec. `content` is its canonical JSON; `columns` what the user said of input and excluded columns."""

    __tablename__ = "problem_specs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), unique=True)
    project: Mapped[str] = mapped_column(sa.String(80), index=True)
    dataset: Mapped[str] = mapped_column(sa.String(200), index=True)
    content: Mapped[str] = mapped_column(sa.Text)
    columns: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(default=now)


SPECS = Collection(
    {"name": text(SpecRow.name), "dataset": text(SpecRow.dataset), "create_time": time(SpecRow.created)},
    key=[Sort(name="id", column=SpecRow.id, descending=True)],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpec:
    """A spec with when it was made and how its columns were named."""

    spec: ProblemSpec
    created: datetime
    input_columns: tuple[str, ...]
    excluded_columns: tuple[str, ...]


def add_spec(session: Session, spec: ProblemSpec, *, input_columns: tuple[str, ...], excluded_columns: tuple[str, ...]) -> None:
    """Adds a checked spec."""
    columns = json.dumps({"input": input_columns, "excluded": excluded_columns}, ensure_ascii=False)
    project = spec.name.split("/problemSpecs/")[0]
    session.add(SpecRow(name=spec.name, project=project, dataset=spec.dataset, content=spec.to_json(), columns=columns))
    session.flush()


def exists(session: Session, name: str) -> bool:
    """Whether there is a spec of that name."""
    return session.scalar(sa.select(SpecRow.id).where(SpecRow.name == name)) is not None


def read_spec(session: Session, name: str) -> StoredSpec:
    """Raises `NotFound`."""
    row = session.scalars(sa.select(SpecRow).where(SpecRow.name == name)).one_or_none()
    if row is None:
        raise NotFound("problem spec", name)
    return _stored(row)


def read_specs(session: Session, project: str, ask: Asked) -> tuple[list[StoredSpec], str]:
    """A page of a project's specs, newest first, and the token of the next."""
    rows, token = SPECS.page(session, sa.select(SpecRow).where(SpecRow.project == project), ask, scope=project)
    return [_stored(row) for row in rows], token


def _stored(row: SpecRow) -> StoredSpec:
    columns = json.loads(row.columns)
    return StoredSpec(
        spec=ProblemSpec.from_json(row.content), created=row.created,
        input_columns=tuple(columns["input"]), excluded_columns=tuple(columns["excluded"]),
    )  # fmt: skip
