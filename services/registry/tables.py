"""The tables of the registry, and what noun a row stands for. `migrations/` makes exactly these tables; a test compares."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column

from services.common.database import Table, new_metadata
from services.common.idempotency import IdempotencyColumns
from services.registry.models import Alias, AliasRef, Model, ModelRef, Move, Part, Project, Version

_ID = sa.String(63)
_DIGEST = sa.String(71)
_NAME = sa.String(400)


class _Scores(sa.TypeDecorator[dict[str, float]]):
    """Metric to value, as JSON. JSON has no NaN and no infinity, so these are kept as words."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, float] | None, dialect: Dialect) -> str:
        return json.dumps({metric: score if math.isfinite(score) else str(score) for metric, score in (value or {}).items()})

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, float]:
        return {metric: float(score) for metric, score in json.loads(value).items()}


class _Parts(sa.TypeDecorator[tuple[Part, ...]]):
    """The parts of a bundle, as JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[Part] | None, dialect: Dialect) -> str:
        return json.dumps([asdict(part) for part in value or ()])

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Part, ...]:
        return tuple(Part(**part) for part in json.loads(value))


class RegistryTable(Table):
    """Root of the registry's tables."""

    __abstract__ = True
    metadata = new_metadata()


class ProjectRow(RegistryTable):
    """One project."""

    __tablename__ = "projects"
    project: Mapped[str] = mapped_column(_ID, primary_key=True)
    description: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime]

    def noun(self) -> Project:
        """The project."""
        return Project(id=self.project, description=self.description, created=self.created)


class ModelRow(RegistryTable):
    """One model. Whoever gives a version number or moves an alias locks this row first, and nothing else of the model."""

    __tablename__ = "models"
    project: Mapped[str] = mapped_column(_ID, sa.ForeignKey("projects.project"), primary_key=True)
    model: Mapped[str] = mapped_column(_ID, primary_key=True)
    description: Mapped[str] = mapped_column(sa.Text)
    latest: Mapped[int]
    created: Mapped[datetime]

    def noun(self, aliases: Sequence[Alias]) -> Model:
        """The model with its aliases."""
        ref = ModelRef(self.project, self.model)
        return Model(ref=ref, description=self.description, latest=self.latest, aliases=tuple(aliases), created=self.created)


class VersionRow(RegistryTable):
    """One version; written once."""

    __tablename__ = "versions"
    __table_args__ = (sa.ForeignKeyConstraint(["project", "model"], ["models.project", "models.model"]),)
    project: Mapped[str] = mapped_column(_ID, primary_key=True)
    model: Mapped[str] = mapped_column(_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bundle_digest: Mapped[str] = mapped_column(_DIGEST)
    run: Mapped[str] = mapped_column(_NAME)
    receipt: Mapped[str] = mapped_column(sa.Text)
    scores: Mapped[dict[str, float]] = mapped_column(_Scores)
    parts: Mapped[tuple[Part, ...]] = mapped_column(_Parts)
    created: Mapped[datetime]

    def noun(self) -> Version:
        """The version."""
        return Version(
            model=ModelRef(self.project, self.model), number=self.number, bundle_digest=self.bundle_digest, run=self.run,
            receipt=self.receipt, scores=self.scores, parts=self.parts, created=self.created,
        )  # fmt: skip


class AliasRow(RegistryTable):
    """Where an alias points now."""

    __tablename__ = "aliases"
    __table_args__ = (
        sa.ForeignKeyConstraint(["project", "model", "version"], ["versions.project", "versions.model", "versions.number"]),
    )
    project: Mapped[str] = mapped_column(_ID, primary_key=True)
    model: Mapped[str] = mapped_column(_ID, primary_key=True)
    alias: Mapped[str] = mapped_column(_ID, primary_key=True)
    version: Mapped[int]
    etag: Mapped[str] = mapped_column(sa.String(32))
    moved: Mapped[datetime]
    moves: Mapped[int]

    def noun(self, digest: str) -> Alias:
        """The alias; `digest` is its version's bundle."""
        ref = AliasRef(ModelRef(self.project, self.model), self.alias)
        return Alias(ref=ref, version=self.version, bundle_digest=digest, etag=self.etag, moved=self.moved)


class MoveRow(RegistryTable):
    """One move of an alias; written once. `number` counts from 1 for each alias."""

    __tablename__ = "alias_moves"
    __table_args__ = (
        sa.ForeignKeyConstraint(["project", "model", "alias"], ["aliases.project", "aliases.model", "aliases.alias"]),
        sa.ForeignKeyConstraint(["project", "model", "to_version"], ["versions.project", "versions.model", "versions.number"]),
        sa.Index("ix_alias_moves_moved", "project", "model", "alias", "moved"),
    )
    project: Mapped[str] = mapped_column(_ID, primary_key=True)
    model: Mapped[str] = mapped_column(_ID, primary_key=True)
    alias: Mapped[str] = mapped_column(_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    from_version: Mapped[int]
    to_version: Mapped[int]
    etag: Mapped[str] = mapped_column(sa.String(32))
    moved: Mapped[datetime]
    moved_by: Mapped[str] = mapped_column(sa.Text)
    why: Mapped[str] = mapped_column(sa.Text)

    def noun(self) -> Move:
        """The move."""
        return Move(
            number=self.number, from_version=self.from_version, to_version=self.to_version, moved=self.moved,
            moved_by=self.moved_by, why=self.why,
        )  # fmt: skip


class ChangeRow(RegistryTable):
    """One change that others are told; committed with what it tells. Kept: it is the registry's journal."""

    __tablename__ = "changes"
    sequence: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.String(32))
    name: Mapped[str] = mapped_column(_NAME)
    model: Mapped[str] = mapped_column(_NAME)
    version: Mapped[int]
    alias: Mapped[str] = mapped_column(_ID)
    changed: Mapped[datetime]
    request_id: Mapped[str] = mapped_column(sa.String(64), default="")
    traceparent: Mapped[str] = mapped_column(sa.String(64), default="")


class OutboxRow(RegistryTable):
    """The one row that counts: the last sequence given, and the last one that is in the event log for certain.

    A writer holds its lock from giving a number to its commit, so numbers become visible in order and without gaps.
    """

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(sa.BigInteger)
    published: Mapped[int] = mapped_column(sa.BigInteger)


class IdempotencyKey(IdempotencyColumns, RegistryTable):
    """Calls that were done, by `request_id`."""

    __tablename__ = "idempotency_keys"
