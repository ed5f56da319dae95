"""What the registry reads and writes within one transaction: rows in, nouns of `models` out. All its SQL is here.

`Records` belongs to one session. It locks what a decision is made on, so a handler reads, decides and writes without a
thought of races: `lock_model` before a version is numbered or an alias moved, `lock_project` before something is made in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection as Container
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.common.database import new_etag, now
from services.common.errors import AlreadyExists, NotFound
from services.common.idempotency import recall, remember
from services.common.listing import Asked, Collection, Sort, number, text, time
from services.common.tracing import current_context
from services.registry.models import (
    Alias,
    AliasRef,
    Change,
    Model,
    ModelRef,
    Move,
    NewVersion,
    Once,
    Part,
    Project,
    Selector,
    Version,
    project_name,
    time_of_move,
)
from services.registry.tables import AliasRow, ChangeRow, IdempotencyKey, ModelRow, MoveRow, OutboxRow, ProjectRow, VersionRow

T = TypeVar("T")
Listed = tuple[list[T], str]
"""A page, and the token of the next; empty on the last."""

_MOST_RECEIPT_BYTES = 4 << 20
"""Receipts in one page: a page of large ones is shorter than asked for, so that it fits in a message."""


def _is_alias(table: type[AliasRow | MoveRow]) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.project == sa.bindparam("project"), table.model == sa.bindparam("model"), table.alias == sa.bindparam("alias")
    )  # fmt: skip


def _key(ref: AliasRef) -> dict[str, str]:
    return {"project": ref.model.project, "model": ref.model.model, "alias": ref.alias}


def _version_of(table: type[AliasRow | MoveRow], number: sa.SQLColumnExpression[int]) -> sa.ColumnElement[bool]:
    return (VersionRow.project == table.project) & (VersionRow.model == table.model) & (VersionRow.number == number)


# Built once: for a read as short as an alias, SQLAlchemy takes longer to build the statement than to run it.
_ALIASES = sa.select(AliasRow, VersionRow.bundle_digest).join(VersionRow, _version_of(AliasRow, AliasRow.version))
_ALIAS = _ALIASES.where(*_is_alias(AliasRow))
_ALIAS_AT = (
    sa.select(MoveRow, VersionRow.bundle_digest)
    .join(VersionRow, _version_of(MoveRow, MoveRow.to_version))
    .where(*_is_alias(MoveRow), MoveRow.moved <= sa.bindparam("moment"))
    .order_by(MoveRow.number.desc())
    .limit(1)
)


def _named(table: type[ModelRow | AliasRow]) -> sa.ColumnElement[str]:
    """The resource name of a row's model."""
    return sa.literal("projects/") + table.project + sa.literal("/models/") + table.model


PROJECTS = Collection(
    {
        "name": text(sa.literal("projects/") + ProjectRow.project), "description": text(ProjectRow.description),
        "create_time": time(ProjectRow.created),
    },
    key=[Sort(name="project", column=ProjectRow.project)],
)  # fmt: skip
MODELS = Collection(
    {
        "name": text(_named(ModelRow)), "description": text(ModelRow.description), "latest_version": number(ModelRow.latest),
        "create_time": time(ModelRow.created),
    },
    key=[Sort(name="project", column=ModelRow.project), Sort(name="model", column=ModelRow.model)],
)  # fmt: skip
VERSIONS = Collection(
    {
        "number": number(VersionRow.number), "run": text(VersionRow.run), "bundle_digest": text(VersionRow.bundle_digest),
        "create_time": time(VersionRow.created),
    },
    key=[Sort(name="number", column=VersionRow.number, descending=True)],
)  # fmt: skip
ALIASES = Collection(
    {
        "name": text(_named(AliasRow) + sa.literal("/aliases/") + AliasRow.alias),
        "version": text(_named(AliasRow) + sa.literal("/versions/") + sa.cast(AliasRow.version, sa.String)),
        "bundle_digest": text(VersionRow.bundle_digest), "move_time": time(AliasRow.moved),
    },
    key=[Sort(name=one.key, column=one) for one in (AliasRow.project, AliasRow.model, AliasRow.alias)],
)  # fmt: skip
MOVES = Collection(
    {"moved_by": text(MoveRow.moved_by), "why": text(MoveRow.why), "move_time": time(MoveRow.moved)},
    key=[Sort(name="number", column=MoveRow.number, descending=True)],
)


class Records:
    """The registry as one transaction sees it. Not for use from two threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes: list[Change] = []

    def project(self, project: str, *, lock: bool = False) -> Project:
        """Raises `NotFound`. With `lock`, nobody deletes it, and nobody else locks it, until the commit."""
        row = self._session.get(ProjectRow, project, with_for_update=lock or None)
        if row is None:
            raise NotFound("project", project_name(project), "ListProjects shows those that exist.")
        return row.noun()

    def has_projects(self) -> bool:
        """Whether there is any."""
        return self._session.scalar(sa.select(ProjectRow.project).limit(1)) is not None

    def projects(self, ask: Asked, only: Container[str] | None = None) -> Listed[Project]:
        """A page by id. `only` leaves the others out."""
        query = sa.select(ProjectRow)
        if only is not None:
            query = query.where(ProjectRow.project.in_(only))
        rows, token = PROJECTS.page(self._session, query, ask, scope="projects")
        return [row.noun() for row in rows], token

    def add_project(self, project: str, description: str) -> Project:
        """Raises `AlreadyExists`."""
        row = ProjectRow(project=project, description=description, created=now())
        self._insert(row, "project", project_name(project))
        self._changes.append(Change(kind="project.created", name=project_name(project)))
        return row.noun()

    def remove_project(self, project: str) -> None:
        """Forgets it, and the calls that made it. It must have no models."""
        self._session.execute(sa.delete(ProjectRow).where(ProjectRow.project == project))
        self._session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.result == project_name(project)))
        self._changes.append(Change(kind="project.deleted", name=project_name(project)))

    def model(self, ref: ModelRef) -> Model:
        """Raises `NotFound`."""
        return self._with_aliases([self._model_row(ref)])[0]

    def lock_model(self, ref: ModelRef) -> None:
        """Waits until no other transaction numbers a version of it or moves an alias. Raises `NotFound`."""
        self._model_row(ref, lock=True)

    def models(self, project: str | None, ask: Asked) -> Listed[Model]:
        """A page by name; of all projects where `project` is None."""
        query = sa.select(ModelRow)
        if project is not None:
            query = query.where(ModelRow.project == project)
        rows, token = MODELS.page(self._session, query, ask, scope=f"models {project}")
        return self._with_aliases(rows), token

    def has_models(self, project: str) -> bool:
        """Whether anything is in the project."""
        return self._session.scalar(sa.select(ModelRow.model).where(ModelRow.project == project).limit(1)) is not None

    def add_model(self, ref: ModelRef, description: str) -> Model:
        """Raises `AlreadyExists`."""
        row = ModelRow(project=ref.project, model=ref.model, description=description, latest=0, created=now())
        self._insert(row, "model", ref.name)
        self._changes.append(Change(kind="model.created", name=ref.name, model=ref.name))
        return row.noun(())

    def version(self, wanted: Selector) -> Version:
        """Raises `NotFound`, for the alias where it is that which is missing."""
        number = wanted.number
        if wanted.alias is not None:
            number = self.alias(AliasRef(wanted.model, wanted.alias)).version
        elif number is None:
            number = self._model_row(wanted.model).latest
        row = self._session.get(VersionRow, (wanted.model.project, wanted.model.model, number)) if number < 1 << 31 else None
        if row is None:
            raise NotFound("version", wanted.name, "ListVersions shows those that exist.")
        return row.noun()

    def versions(self, ref: ModelRef, ask: Asked) -> Listed[Version]:
        """A page, newest first; shorter where its receipts are large. Raises `NotFound` for the model."""
        self._model_row(ref)
        query = sa.select(VersionRow).where(VersionRow.project == ref.project, VersionRow.model == ref.model)
        rows, token = VERSIONS.page(
            self._session,
            query,
            ask,
            scope=f"versions {ref.name}",
            weigh=lambda row: len(row.receipt),
            heaviest=_MOST_RECEIPT_BYTES,
        )
        return [row.noun() for row in rows], token

    def add_version(self, ref: ModelRef, new: NewVersion, parts: Sequence[Part]) -> Version:
        """Gives it the next number. The model must be locked."""
        model = self._model_row(ref)
        model.latest += 1
        row = VersionRow(
            project=ref.project, model=ref.model, number=model.latest, bundle_digest=new.bundle_digest, run=new.run,
            receipt=new.receipt, scores=dict(new.scores), parts=tuple(parts), created=now(),
        )  # fmt: skip
        self._session.add(row)
        version = row.noun()
        self._changes.append(Change(kind="version.created", name=version.name, model=ref.name, version=version.number))
        return version

    def alias(self, ref: AliasRef) -> Alias:
        """Raises `NotFound`."""
        if (alias := self.find_alias(ref)) is None:
            raise NotFound("alias", ref.name, "SetAlias with an empty etag makes it.")
        return alias

    def find_alias(self, ref: AliasRef) -> Alias | None:
        """Where it points now."""
        row = self._session.execute(_ALIAS, _key(ref)).first()
        return None if row is None else row[0].noun(row[1])

    def alias_at(self, ref: AliasRef, moment: datetime) -> Alias:
        """Where it pointed at that moment. Raises `NotFound` where it wasn't made yet."""
        found = self._session.execute(_ALIAS_AT, {**_key(ref), "moment": moment}).first()
        if found is None:
            raise NotFound("alias", ref.name, f"It did not exist at {moment.isoformat()}; its history shows when it was made.")
        move, digest = found
        return Alias(ref=ref, version=move.to_version, bundle_digest=digest, etag=move.etag, moved=move.moved)

    def aliases(self, ref: ModelRef | None, ask: Asked) -> Listed[Alias]:
        """A page by name; of all models where `ref` is None. Raises `NotFound` for the model."""
        query = _ALIASES
        if ref is not None:
            self._model_row(ref)
            query = query.where(AliasRow.project == ref.project, AliasRow.model == ref.model)
        rows, token = ALIASES.page(self._session, query, ask, scope=f"aliases {ref.name if ref else ''}")
        return [row.noun(digest) for row, digest in rows], token

    def move_alias(self, ref: AliasRef, version: Version, *, moved_by: str, why: str) -> Alias:
        """Makes or moves it, with an entry in its history. The model must be locked, and the version be one of it."""
        key = (ref.model.project, ref.model.model, ref.alias)
        row = self._session.get(AliasRow, key)
        before, moved, etag = row.version if row else 0, time_of_move(now(), row.moved if row else None), new_etag()
        if row is None:
            row = AliasRow(project=key[0], model=key[1], alias=key[2], moves=0)
            self._session.add(row)
        row.version, row.etag, row.moved, row.moves = version.number, etag, moved, row.moves + 1
        self._session.flush()
        self._session.add(MoveRow(
            project=key[0], model=key[1], alias=key[2], number=row.moves, from_version=before, to_version=version.number,
            etag=etag, moved=moved, moved_by=moved_by, why=why,
        ))  # fmt: skip
        self._changes.append(
            Change(kind="alias.moved", name=ref.name, model=ref.model.name, version=version.number, alias=ref.alias)
        )
        return Alias(ref=ref, version=version.number, bundle_digest=version.bundle_digest, etag=etag, moved=moved)

    def moves(self, ref: AliasRef, ask: Asked) -> Listed[Move]:
        """A page, newest first. Raises `NotFound`."""
        self.alias(ref)
        query = sa.select(MoveRow).where(*_is_alias(MoveRow)).params(_key(ref))
        rows, token = MOVES.page(self._session, query, ask, scope=f"moves {ref.name}")
        return [row.noun() for row in rows], token

    def recall(self, scope: str, once: Once) -> str | None:
        """The name of what the first call with this id made. Raises `RequestIdReused`."""
        return recall(self._session, IdempotencyKey, scope=scope, request_id=once.request_id, fingerprint=once.fingerprint)

    def remember(self, scope: str, once: Once, name: str) -> None:
        """Keeps what this call made."""
        remember(
            self._session, IdempotencyKey, scope=scope, request_id=once.request_id, fingerprint=once.fingerprint, result=name
        )

    def write_changes(self) -> bool:
        """Gives what changed its places in the sequence. The last step before the commit: it makes other writers wait."""
        cause = current_context()
        for change in self._changes:
            counting = sa.update(OutboxRow).values(last=OutboxRow.last + 1).returning(OutboxRow.last)
            self._session.add(ChangeRow(
                sequence=self._session.execute(counting).scalar_one(), kind=change.kind, name=change.name, model=change.model,
                version=change.version, alias=change.alias, changed=now(), request_id=cause.request_id,
                traceparent=cause.traceparent,
            ))  # fmt: skip
        return bool(self._changes)

    def _model_row(self, ref: ModelRef, *, lock: bool = False) -> ModelRow:
        row = self._session.get(ModelRow, (ref.project, ref.model), with_for_update=lock or None)
        if row is None:
            raise NotFound("model", ref.name, "CreateModel makes it.")
        return row

    def _with_aliases(self, rows: Sequence[ModelRow]) -> list[Model]:
        keys = [(row.project, row.model) for row in rows]
        query = _ALIASES.where(sa.tuple_(AliasRow.project, AliasRow.model).in_(keys)).order_by(AliasRow.alias)
        of_model: defaultdict[ModelRef, list[Alias]] = defaultdict(list)
        for row, digest in self._session.execute(query) if keys else ():
            of_model[ModelRef(row.project, row.model)].append(row.noun(digest))
        return [row.noun(of_model[ModelRef(row.project, row.model)]) for row in rows]

    def _insert(self, row: ProjectRow | ModelRow, kind: str, name: str) -> None:
        self._session.add(row)
        try:
            self._session.flush()
        except IntegrityError:
            raise AlreadyExists(kind, name) from None
