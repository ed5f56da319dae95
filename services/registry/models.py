"""The nouns of the registry and their rules: pure, without a database, a wire format or a clock of their own.

What holds, whatever happens:
- A model's versions are numbered 1, 2, 3, ... without gaps; a number is never reused and a version never changes.
- An alias points to one version and moves by compare-and-set. Each move is kept, and the times of its moves only grow, so
  where it pointed at any moment has one answer.
- Every change has a place in one sequence without gaps, in the order of the commits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.common.errors import EtagMismatch, InvalidField
from services.common.names import check_id, number, parse

PROJECT = "projects/{project}"
MODEL = "projects/{project}/models/{model}"
VERSION = "projects/{project}/models/{model}/versions/{version}"
ALIAS = "projects/{project}/models/{model}/aliases/{alias}"
ARTIFACT = "projects/{project}/models/{model}/versions/{version}/artifacts/{artifact}"
RUN = "projects/{project}/runs/{run}"

LATEST = "latest"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

ChangeKind = Literal["project.created", "project.deleted", "model.created", "version.created", "alias.moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The scope of everything else."""

    id: str
    description: str
    created: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return project_name(self.id)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model."""

    project: str
    model: str

    @classmethod
    def parse(cls, name: str, field: str = "name") -> ModelRef:
        """Raises `InvalidField`."""
        return cls(**parse(MODEL, name, field))

    @property
    def name(self) -> str:
        """The resource name."""
        return f"projects/{self.project}/models/{self.model}"


@dataclass(frozen=True, slots=True)
class AliasRef:
    """Which alias of which model."""

    model: ModelRef
    alias: str

    @classmethod
    def parse(cls, name: str, field: str = "name") -> AliasRef:
        """Raises `InvalidField`."""
        ids = parse(ALIAS, name, field)
        return cls(ModelRef(ids["project"], ids["model"]), ids["alias"])

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{self.model.name}/aliases/{self.alias}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which version, as callers say it: by number, as `latest`, or as `@alias`. With neither number nor alias, the latest."""

    model: ModelRef
    number: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, name: str, field: str = "name") -> Selector:
        """Reads `projects/{project}/models/{model}/versions/{number|latest|@alias}`. Raises `InvalidField`."""
        head, _, last = name.rpartition("/versions/")
        if not head:
            parse(VERSION, name, field)
        model = ModelRef.parse(head, field)
        if last == LATEST:
            return cls(model)
        if last.startswith("@"):
            return cls(model, alias=parse("@{alias}", last, field)["alias"])
        return cls(model, number=number(last, field))

    @property
    def name(self) -> str:
        """The name as it was asked for."""
        last = f"@{self.alias}" if self.alias is not None else LATEST if self.number is None else str(self.number)
        return f"{self.model.name}/versions/{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A pointer to a version, at the moment of reading or at an earlier one."""

    ref: AliasRef
    version: int
    bundle_digest: str
    etag: str
    moved: datetime

    @property
    def version_name(self) -> str:
        """The resource name of the version that it points to."""
        return version_name(self.ref.model, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name that versions are numbered under. `latest` is 0 where there is none."""

    ref: ModelRef
    description: str
    latest: int
    aliases: tuple[Alias, ...]
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One content-addressed object of a bundle. `digest` is `sha256:<hex>`, `size` in bytes."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What a caller registers. `receipt` is a JSON document that the registry keeps and doesn't read."""

    bundle_digest: str
    run: str
    receipt: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable version. `parts` are those of its bundle, the manifest first."""

    model: ModelRef
    number: int
    bundle_digest: str
    run: str
    receipt: str
    scores: dict[str, float]
    parts: tuple[Part, ...]
    created: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return version_name(self.model, self.number)

    @property
    def size(self) -> int:
        """Bytes of the bundle, shared parts included."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of an alias. `from_version` is 0 for the first."""

    number: int
    from_version: int
    to_version: int
    moved: datetime
    moved_by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that others are told. Its place in the sequence is given when it is stored."""

    kind: ChangeKind
    name: str
    model: str = ""
    version: int = 0
    alias: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """A caller's wish that a repeated call is done once: its id, and the fingerprint of what it asks for."""

    request_id: str = ""
    fingerprint: str = ""


def project_name(project: str) -> str:
    """The resource name."""
    return f"projects/{project}"


def version_name(model: ModelRef, version: int) -> str:
    """The resource name; empty for version 0, which stands for none."""
    return f"{model.name}/versions/{version}" if version else ""


def check_text(value: str, field: str, most: int) -> str:
    """Words of a caller, back as they are. Raises `InvalidField`."""
    if len(value) > most:
        raise InvalidField(field, f"has {len(value):,} characters. Use at most {most:,}.")
    if "\0" in value:
        raise InvalidField(field, "has a NUL character, which databases can't keep. Leave it out.")
    return value


def check_digest(digest: str, field: str) -> str:
    """A digest, back as it is. Raises `InvalidField`."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidField(field, f"'{digest[:80]}' is no digest. It is 'sha256:' and 64 of 0-9 and a-f.")
    return digest


def check_alias(ref: AliasRef) -> AliasRef:
    """An alias that may be made, back as it is. Raises `InvalidField`."""
    check_id(ref.alias, "name")
    if ref.alias == LATEST:
        raise InvalidField("name", "'latest' always means the newest version and can't be an alias. Choose another.")
    return ref


def check_new(version: NewVersion) -> NewVersion:
    """What can be told of a new version without its bundle. Raises `InvalidField`."""
    check_digest(version.bundle_digest, "version.bundle_digest")
    if version.run:
        parse(RUN, version.run, "version.run")
    for metric in version.scores:
        check_text(metric, "version.scores", 200)
    check_text(version.receipt, "version.receipt", 1 << 20)
    return version


def check_etag(ref: AliasRef, current: Alias | None, etag: str) -> None:
    """The compare in compare-and-set; empty is right for an alias that isn't there. Raises `EtagMismatch`."""
    if etag != (known := current.etag if current is not None else ""):
        raise EtagMismatch(ref.name, sent=etag, current=known)


def time_of_move(clock: datetime, previous: datetime | None) -> datetime:
    """The clock's time, or just after the previous move where the clock went back."""
    return clock if previous is None else max(clock, previous + timedelta(microseconds=1))
