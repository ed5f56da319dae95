"""The use cases of the registry: one method for each thing that can be asked of it.

Each is one transaction (registering a version reads the bundle before its own begins), so a call is done whole or not at
all. After a commit that others must hear of, `changed` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from services.common.database import Database
from services.common.errors import AlreadyExists, FailedPrecondition, InvalidField, NotFound
from services.common.listing import Asked
from services.common.names import check_id, parse
from services.common.objects.port import LINK_LIFE, MODELS, ObjectStore
from services.common.paging import part_of
from services.registry.bundles import key_of, read_verified, verify
from services.registry.models import (
    ARTIFACT,
    PROJECT,
    Alias,
    AliasRef,
    Model,
    ModelRef,
    Move,
    NewVersion,
    Once,
    Part,
    Project,
    Selector,
    Version,
    check_alias,
    check_etag,
    check_new,
    check_text,
    project_name,
)
from services.registry.storage import Records

ANY = "-"
DEFAULT_PROJECT = "default"
_MOST_DESCRIPTION = 10_000
_MOST_WHY = 1_000

NEVER_SENT = Once()
"""A call that said no request_id."""

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Listing(Generic[ItemT]):
    """One page, and the token of the next one; empty on the last."""

    items: list[ItemT]
    next_token: str


class Registry:
    """Safe for use from many threads and, on one database, from many processes."""

    def __init__(self, database: Database, objects: ObjectStore, changed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._objects = objects
        self._changed = changed

    def ensure_default_project(self) -> None:
        """Creates the project `default` where there is no project at all: a new installation works without ceremony."""
        try:
            with self._writing() as records:
                if not records.has_projects():
                    records.add_project(DEFAULT_PROJECT, "Made at the first start.")
        except AlreadyExists:
            return  # another process was first

    def create_project(self, project: str, description: str, once: Once = NEVER_SENT) -> Project:
        """Raises `AlreadyExists`, `RequestIdReused`, `InvalidField`."""
        check_id(project, "project_id")
        check_text(description, "project.description", _MOST_DESCRIPTION)
        with self._writing() as records:
            if name := records.recall("projects", once):
                return records.project(parse(PROJECT, name)["project"])
            made = records.add_project(project, description)
            records.remember("projects", once, made.name)
            return made

    def get_project(self, name: str) -> Project:
        """Raises `NotFound`."""
        with self._database.reading() as session:
            return Records(session).project(parse(PROJECT, name)["project"])

    def list_projects(
        self, only: frozenset[str] | None, size: int = 0, token: str = "", *, filter: str = "", order_by: str = ""
    ) -> Listing[Project]:
        """By name. `only`: what the caller may see; None is all."""
        ask = Asked(size=size, token=token, filter=filter, order_by=order_by)
        with self._database.reading() as session:
            return Listing(*Records(session).projects(ask, only))

    def delete_project(self, name: str) -> None:
        """Raises `NotFound`, `FailedPrecondition` while it has models."""
        project = parse(PROJECT, name)["project"]
        with self._writing() as records:
            records.project(project, lock=True)
            if records.has_models(project):
                raise FailedPrecondition(
                    f"'{name}' has models, and models can't be deleted: predictions must stay traceable.",
                    reason="PROJECT_NOT_EMPTY", name=name,
                )  # fmt: skip
            records.remove_project(project)

    def create_model(self, parent: str, model: str, description: str, once: Once = NEVER_SENT) -> Model:
        """Raises `NotFound` for the project, `AlreadyExists`, `RequestIdReused`, `InvalidField`."""
        ref = ModelRef(parse(PROJECT, parent, "parent")["project"], check_id(model, "model_id"))
        check_text(description, "model.description", _MOST_DESCRIPTION)
        with self._writing() as records:
            records.project(ref.project, lock=True)
            if name := records.recall(f"{parent}/models", once):
                return records.model(ModelRef.parse(name))
            made = records.add_model(ref, description)
            records.remember(f"{parent}/models", once, ref.name)
            return made

    def get_model(self, name: str) -> Model:
        """Raises `NotFound`."""
        with self._database.reading() as session:
            return Records(session).model(ModelRef.parse(name))

    def list_models(
        self, parent: str, size: int = 0, token: str = "", *, filter: str = "", order_by: str = ""
    ) -> Listing[Model]:
        """By name; `projects/-` is all projects. Raises `NotFound` for the project."""
        project = None if parent == project_name(ANY) else parse(PROJECT, parent, "parent")["project"]
        ask = Asked(size=size, token=token, filter=filter, order_by=order_by)
        with self._database.reading() as session:
            records = Records(session)
            if project is not None:
                records.project(project)
            return Listing(*records.models(project, ask))

    def create_version(self, parent: str, new: NewVersion, once: Once = NEVER_SENT) -> Version:
        """Gives the next number to a bundle that is stored. It is read before the transaction: writers must not wait for that.

        Raises `NotFound` for the model, `FailedPrecondition` for a bundle that isn't stored, `DigestMismatch` for a damaged
        one, `InvalidField`, `RequestIdReused`.
        """
        ref, scope = ModelRef.parse(parent, "parent"), f"{parent}/versions"
        check_new(new)
        with self._database.reading() as session:
            records = Records(session)
            records.model(ref)
            if name := records.recall(scope, once):
                return records.version(Selector.parse(name))
        parts = verify(self._objects, new.bundle_digest)
        with self._writing() as records:
            records.lock_model(ref)
            if name := records.recall(scope, once):
                return records.version(Selector.parse(name))
            version = records.add_version(ref, new, parts)
            records.remember(scope, once, version.name)
            return version

    def get_version(self, name: str, field: str = "name") -> Version:
        """`latest` and `@alias` are understood. Raises `NotFound`."""
        with self._database.reading() as session:
            return Records(session).version(Selector.parse(name, field))

    def list_versions(
        self, parent: str, size: int = 0, token: str = "", *, filter: str = "", order_by: str = ""
    ) -> Listing[Version]:
        """Newest first. Raises `NotFound` for the model."""
        ask = Asked(size=size, token=token, filter=filter, order_by=order_by)
        with self._database.reading() as session:
            return Listing(*Records(session).versions(ModelRef.parse(parent, "parent"), ask))

    def set_alias(self, name: str, version: str, etag: str, *, moved_by: str, why: str) -> Alias:
        """Makes or moves an alias by compare-and-set. Raises `EtagMismatch`, `NotFound` for the version.

        Where it points to this version already, nothing happens whatever the etag: a call that is sent again succeeds.
        """
        ref, target = check_alias(AliasRef.parse(name)), Selector.parse(version, "version")
        check_text(why, "why", _MOST_WHY)
        if target.number is None:
            raise InvalidField("version", "must say a number, for what 'latest' or an alias means can change meanwhile.")
        if target.model != ref.model:
            raise InvalidField("version", f"is of another model than the alias. Name a version of '{ref.model.name}'.")
        with self._writing() as records:
            records.lock_model(ref.model)
            found, current = records.version(target), records.find_alias(ref)
            if current is not None and current.version == found.number:
                return current
            check_etag(ref, current, etag)
            return records.move_alias(ref, found, moved_by=moved_by, why=why)

    def get_alias(self, name: str, as_of: datetime | None = None) -> Alias:
        """Now, or at an earlier moment. Raises `NotFound`."""
        ref = AliasRef.parse(name)
        with self._database.reading() as session:
            return Records(session).alias(ref) if as_of is None else Records(session).alias_at(ref, as_of)

    def list_aliases(
        self, parent: str, size: int = 0, token: str = "", *, filter: str = "", order_by: str = ""
    ) -> Listing[Alias]:
        """By name; `projects/-/models/-` is those of all models. Raises `NotFound` for the model."""
        ref = None if parent == f"projects/{ANY}/models/{ANY}" else ModelRef.parse(parent, "parent")
        ask = Asked(size=size, token=token, filter=filter, order_by=order_by)
        with self._database.reading() as session:
            return Listing(*Records(session).aliases(ref, ask))

    def list_moves(self, name: str, size: int = 0, token: str = "", *, filter: str = "", order_by: str = "") -> Listing[Move]:
        """Newest first. Raises `NotFound`."""
        ask = Asked(size=size, token=token, filter=filter, order_by=order_by)
        with self._database.reading() as session:
            return Listing(*Records(session).moves(AliasRef.parse(name), ask))

    def list_parts(self, name: str, size: int = 0, token: str = "") -> tuple[Version, Listing[Part]]:
        """A version's parts, the manifest first. Raises `NotFound`."""
        version = self.get_version(name, "parent")
        parts, more = part_of(version.parts, size, token, query=f"parts {version.name}")
        return version, Listing(list(parts), more)

    def open_artifact(self, name: str) -> tuple[Part, Iterator[bytes]]:
        """A part of a version and its bytes, verified while they are read. Raises `NotFound`; reading, `DigestMismatch`."""
        part = self._part(name)
        return part, read_verified(self._objects, part)

    def link_artifact(self, name: str) -> str | None:
        """A link to a part's bytes, where the store has an address for callers. Raises `NotFound`."""
        part = self._part(name)
        return self._objects.presigned(MODELS, key_of(part.digest), expires=LINK_LIFE, file_name=part.name)

    def _part(self, name: str) -> Part:
        head, _, hexadecimal = name.rpartition("/artifacts/")
        if not head:
            parse(ARTIFACT, name)
        for part in self.get_version(head).parts:
            if part.digest == f"sha256:{hexadecimal}":
                return part
        raise NotFound("artifact", name, "ListArtifacts shows those of the version.")

    @contextmanager
    def _writing(self) -> Iterator[Records]:
        with self._database.session() as session:
            records = Records(session)
            yield records
            changed = records.write_changes()
        if changed:
            self._changed()
