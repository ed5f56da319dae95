"""What can be done with labelers: create, look up, list, retire, let them vote; try one out is in `previewing`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from services.common import names
from services.common.database import Database
from services.common.errors import AlreadyExists, InvalidField
from services.common.frames.kinds import Schema
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets.model import PROJECT, Version, split_version_name
from services.labeling.datasets.storage import get_version
from services.labeling.labelers import storage
from services.labeling.labelers.applying import Applying, Outcome
from services.labeling.labelers.rules import Feedback, Labeler, check_definition
from services.labeling.labelers.sandbox import SqlLimits
from services.labeling.labelers.voting import ready
from services.labeling.request_ids import IdempotencyKey
from services.labeling.specs.handlers import get_spec, read_spec

__all__ = ["LABELER", "Labeler", "Labelers", "ensure_feedback_labeler", "get_labeler"]

LABELER = "projects/{project}/labelers/{labeler}"


def get_labeler(session: Session, name: str) -> Labeler:
    """A labeler by its full name. Raises `InvalidField`, `NotFound`."""
    names.parse(LABELER, name, "labeler")
    return storage.read_labeler(session, name)


def ensure_feedback_labeler(session: Session, project: str, problem_spec: str, source: str) -> Labeler:
    """The labeler of a feedback source for a spec, made at its first label. `project` is `projects/{project}`."""
    mark = hashlib.sha256(f"{problem_spec}\n{source}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-")[:36].strip("-")
    name = f"{project}/labelers/{'-'.join(part for part in ('feedback', readable, mark) if part)}"
    if (found := storage.find_labeler(session, name)) is None:
        told = f"Labels sent back by {source}."
        labeler = Labeler(name=name, problem_spec=problem_spec, definition=Feedback(source=source), description=told)
        storage.add_labeler(session, labeler)
        found = storage.read_labeler(session, name)
    return found


class Labelers:
    """The labelers of all projects. Safe for many threads. In `scratch` lie rows that an SQL expression runs over."""

    def __init__(
        self, database: Database, objects: ObjectStore, scratch: Path | None = None, limits: SqlLimits | None = None
    ) -> None:
        self._database = database
        self._scratch = scratch
        self._limits = limits or SqlLimits()
        self._applying = Applying(database, objects, scratch, self._limits)

    def create(self, parent: str, labeler_id: str, draft: Labeler, *, request_id: str = "", fingerprint: str = "") -> Labeler:
        """A new labeler. Raises `AlreadyExists`, `InvalidField`, `InvalidFields`, `UnsafeExpression`, `NotFound`."""
        names.parse(PROJECT, parent, "parent")
        name = f"{parent}/labelers/{names.check_id(labeler_id, 'labeler_id')}"
        key = {"scope": f"{parent}/labelers", "request_id": request_id, "fingerprint": fingerprint}
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_labeler(session, before)
        spec, schema = self.check(draft, parent)
        if (program := draft.program) is not None:
            with ready(program, spec, schema, self._scratch, self._limits):
                pass
        labeler = replace(draft, name=name, id=0, created=None, retired=None)
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_labeler(session, before)
            if storage.find_labeler(session, name) is not None:
                raise AlreadyExists("labeler", name)
            storage.add_labeler(session, labeler)
            remember(session, IdempotencyKey, **key, result=name)
            return storage.read_labeler(session, name)

    def check(self, draft: Labeler, parent: str) -> tuple[ProblemSpec, Schema]:
        """Raises unless the labeler fits its spec; answers the spec, and the newest schema, that it was checked against."""
        if isinstance(draft.definition, Feedback):
            raise InvalidField("labeler.feedback", "is made by Regrow itself, at a source's first label.")
        if not draft.problem_spec.startswith(f"{parent}/problemSpecs/"):
            raise InvalidField("labeler.problem_spec", f"'{draft.problem_spec[:100]}' is not a spec of '{parent}'.")
        with self._database.reading() as session:
            spec = read_spec(session, draft.problem_spec, "labeler.problem_spec").spec
            schema = get_version(session, spec.dataset, None).schema
        check_definition(draft.definition, spec, schema)
        return spec, schema

    def get(self, name: str) -> Labeler:
        """Raises `InvalidField`, `NotFound`."""
        with self._database.reading() as session:
            return get_labeler(session, name)

    def list_labelers(self, parent: str, ask: Asked, *, problem_spec: str, retired: bool) -> tuple[list[Labeler], str]:
        """A page of a project's labelers, oldest first, and the token of the next."""
        names.parse(PROJECT, parent, "parent")
        with self._database.reading() as session:
            return storage.list_labelers(session, parent, ask, problem_spec=problem_spec, retired=retired)

    def retire(self, name: str) -> Labeler:
        """Idempotent. Raises `InvalidField`, `NotFound`."""
        names.parse(LABELER, name)
        with self._database.session() as session:
            return storage.retire(session, name)

    def apply(
        self, parent: str, dataset_version: str, labelers: Sequence[str] = (), problem_spec: str = ""
    ) -> tuple[Version, list[Outcome]]:
        """Lets labelers vote on a version; all programs of the spec where none is named. Raises `InvalidField`, `NotFound`."""
        version, chosen = self._chosen(parent, dataset_version, labelers, problem_spec)
        return version, self.apply_to(version, chosen)

    def apply_to(self, version: Version, labelers: Sequence[Labeler]) -> list[Outcome]:
        """One outcome per labeler, in their order; those of several specs are run spec by spec."""
        found: dict[str, Outcome] = {}
        for name in dict.fromkeys(labeler.problem_spec for labeler in labelers):
            with self._database.reading() as session:
                spec = get_spec(session, name)
            mine = [labeler for labeler in labelers if labeler.problem_spec == name]
            found.update({outcome.labeler: outcome for outcome in self._applying.apply(version, spec, mine)})
        return [found[labeler.name] for labeler in labelers]

    def _chosen(
        self, parent: str, dataset_version: str, labelers: Sequence[str], problem_spec: str
    ) -> tuple[Version, list[Labeler]]:
        names.parse(PROJECT, parent, "parent")
        dataset, number = split_version_name(dataset_version, "dataset_version")
        if not dataset.startswith(f"{parent}/"):
            raise InvalidField("dataset_version", f"'{dataset_version}' belongs to another project than '{parent}'.")
        if not labelers and not problem_spec:
            raise InvalidField("labelers", "is empty: name labelers, or the problem_spec whose labelers shall vote.")
        with self._database.reading() as session:
            version = get_version(session, dataset, number)
            if labelers:
                distinct = dict.fromkeys(labelers)
                return version, [_of_project(session, name, parent, index) for index, name in enumerate(distinct)]
            read_spec(session, problem_spec, "problem_spec")
            every = storage.read_labelers(session, parent, problem_spec=problem_spec)
            return version, [labeler for labeler in every if labeler.program is not None]


def _of_project(session: Session, name: str, parent: str, index: int) -> Labeler:
    if not name.startswith(f"{parent}/labelers/"):
        raise InvalidField(f"labelers[{index}]", f"'{name[:100]}' is not a labeler of '{parent}'.")
    return get_labeler(session, name)
