"""The tables of labelers and of the vote blocks that programs wrote, and every query on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import now
from services.common.errors import NotFound
from services.common.frames.kinds import Schema
from services.common.listing import Asked, Collection, Sort, text, time
from services.labeling.labelers.rules import Labeler, definition_fields, definition_of
from services.labeling.tables import LabelingTable


class LabelerRow(LabelingTable):
    """One labeler."""

    __tablename__ = "labelers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), unique=True)
    project: Mapped[str] = mapped_column(sa.String(80), index=True)
    problem_spec: Mapped[str] = mapped_column(sa.String(200), index=True)
    kind: Mapped[str] = mapped_column(sa.String(12))
    definition: Mapped[str] = mapped_column(sa.Text)
    description: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(default=now)
    retired: Mapped[datetime | None]


class VoteBlockRow(LabelingTable):
    """A program's votes on one part of a data set: a Parquet object, and its digest. Made once, never changed."""

    __tablename__ = "vote_blocks"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(sa.String(200))
    labeler: Mapped[str] = mapped_column(sa.String(200))
    part_digest: Mapped[str] = mapped_column(sa.String(80))
    schema_digest: Mapped[str] = mapped_column(sa.String(80))
    object_key: Mapped[str] = mapped_column(sa.String(400))
    digest: Mapped[str] = mapped_column(sa.String(80))
    votes: Mapped[int] = mapped_column(sa.BigInteger)
    created: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (sa.UniqueConstraint("dataset", "labeler", "part_digest", "schema_digest"),)


LABELERS = Collection(
    {
        "name": text(LabelerRow.name), "problem_spec": text(LabelerRow.problem_spec),
        "description": text(LabelerRow.description), "kind": text(LabelerRow.kind),
        "create_time": time(LabelerRow.created), "retire_time": time(LabelerRow.retired, nullable=True),
    },
    key=[Sort(name="id", column=LabelerRow.id)],
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteBlock:
    """Where a program's votes on one part lie. `digest` is `sha256:<hex>`; `votes` counts rows voted on."""

    labeler: str
    part_digest: str
    object_key: str
    digest: str
    votes: int


def add_labeler(session: Session, labeler: Labeler) -> None:
    """Adds a checked labeler."""
    definition = json.dumps(definition_fields(labeler.definition), ensure_ascii=False)
    session.add(
        LabelerRow(
            name=labeler.name, project=labeler.name.split("/labelers/")[0], problem_spec=labeler.problem_spec,
            kind=labeler.kind, definition=definition, description=labeler.description, created=now(), retired=None,
        )
    )  # fmt: skip
    session.flush()


def find_labeler(session: Session, name: str) -> Labeler | None:
    """The labeler, or None."""
    row = session.scalars(sa.select(LabelerRow).where(LabelerRow.name == name)).one_or_none()
    return None if row is None else _labeler(row)


def read_labeler(session: Session, name: str) -> Labeler:
    """Raises `NotFound`."""
    labeler = find_labeler(session, name)
    if labeler is None:
        raise NotFound("labeler", name)
    return labeler


def read_labelers(session: Session, project: str, *, problem_spec: str = "", retired: bool = False) -> list[Labeler]:
    """A project's labelers, oldest first; those of one spec where it is given, retired ones only where asked."""
    query = _query(project, problem_spec=problem_spec, retired=retired)
    return [_labeler(row) for row in session.scalars(query.order_by(LabelerRow.id))]


def list_labelers(
    session: Session, project: str, ask: Asked, *, problem_spec: str = "", retired: bool = False
) -> tuple[list[Labeler], str]:
    """A page of them, and the token of the next."""
    query = _query(project, problem_spec=problem_spec, retired=retired)
    rows, token = LABELERS.page(session, query, ask, scope=f"{project}\n{problem_spec}\n{retired}")
    return [_labeler(row) for row in rows], token


def retire(session: Session, name: str) -> Labeler:
    """Retires a labeler; one that is retired keeps its time. Raises `NotFound`."""
    session.execute(sa.update(LabelerRow).where(LabelerRow.name == name, LabelerRow.retired.is_(None)).values(retired=now()))
    return read_labeler(session, name)


def schema_digest(schema: Schema) -> str:
    """Of the columns and kinds that a program's votes depend on."""
    return hashlib.sha256(json.dumps([[c.name, c.kind.value] for c in schema]).encode()).hexdigest()


def blocks_of(
    session: Session, dataset: str, labelers: Iterable[str], *, parts: Iterable[str], schema: str
) -> dict[tuple[str, str], VoteBlock]:
    """(labeler, part digest) -> block, of these labelers on these parts under this schema."""
    wanted = set(parts)
    query = sa.select(VoteBlockRow).where(
        VoteBlockRow.dataset == dataset, VoteBlockRow.labeler.in_(list(labelers)), VoteBlockRow.schema_digest == schema
    )
    return {
        (row.labeler, row.part_digest): VoteBlock(
            labeler=row.labeler, part_digest=row.part_digest, object_key=row.object_key, digest=row.digest, votes=row.votes
        )
        for row in session.scalars(query)
        if row.part_digest in wanted
    }


def applied_labelers(session: Session, dataset: str, labelers: Sequence[str]) -> set[str]:
    """Which of these have voted on some part of the data set, in any version."""
    mine = (VoteBlockRow.dataset == dataset) & VoteBlockRow.labeler.in_(labelers)
    return set(session.scalars(sa.select(VoteBlockRow.labeler).where(mine).distinct()))


def add_block(session: Session, dataset: str, schema: str, block: VoteBlock) -> None:
    """Records a block. A twin of this call may have recorded the same votes first: then nothing changes."""
    try:
        with session.begin_nested():
            session.add(
                VoteBlockRow(
                    dataset=dataset, labeler=block.labeler, part_digest=block.part_digest, schema_digest=schema,
                    object_key=block.object_key, digest=block.digest, votes=block.votes,
                )
            )  # fmt: skip
    except sa.exc.IntegrityError:
        return


def forget_dataset(session: Session, dataset: str) -> None:
    """Removes what programs voted on a data set that is being deleted; its objects go with the data set's folder."""
    session.execute(sa.delete(VoteBlockRow).where(VoteBlockRow.dataset == dataset))


def _query(project: str, *, problem_spec: str, retired: bool) -> sa.Select[LabelerRow]:
    query = sa.select(LabelerRow).where(LabelerRow.project == project)
    if problem_spec:
        query = query.where(LabelerRow.problem_spec == problem_spec)
    return query if retired else query.where(LabelerRow.retired.is_(None))


def _labeler(row: LabelerRow) -> Labeler:
    return Labeler(
        id=row.id, name=row.name, problem_spec=row.problem_spec, definition=definition_of(row.kind, json.loads(row.definition)),
        description=row.description, created=row.created, retired=row.retired,
    )  # fmt: skip
