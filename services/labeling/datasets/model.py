"""What a data set and its versions are. Pure: no storage, no protos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common import names
from services.common.frames.holdout import HoldoutRule
from services.common.frames.kinds import Schema
from services.common.frames.parquet import StoredManifest

PROJECT = "projects/{project}"
DATASET = "projects/{project}/datasets/{dataset}"
VERSION = "projects/{project}/datasets/{dataset}/versions/{version}"
LATEST = "latest"


class Origin(StrEnum):
    """How a version came about."""

    IMPORT = "import"
    SCHEMA = "schema"
    APPEND = "append"
    REGROWTH = "regrowth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable state of a data set. `object_key` is the manifest's key in the bucket of data sets."""

    dataset: str
    number: int
    row_count: int
    holdout_count: int
    schema: Schema
    digest: str
    object_key: str
    size_bytes: int
    created: datetime
    origin: Origin
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, dataset: str, number: int, origin: Origin, stored: StoredManifest, *, created: datetime, notes: tuple[str, ...]
    ) -> Version:
        """The version that a stored manifest makes."""
        manifest = stored.manifest
        return cls(
            dataset=dataset, number=number, row_count=manifest.row_count, holdout_count=manifest.holdout_count,
            schema=manifest.schema, digest=stored.digest, object_key=stored.key, size_bytes=manifest.size, created=created,
            origin=origin, notes=notes,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The full resource name."""
        return f"{self.dataset}/versions/{self.number}"

    def row_name(self, number: int) -> str:
        """The full resource name of a row, the same in every version."""
        return f"{self.dataset}/rows/{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A table of rows with versions. `root` is where its objects lie; one that is imported anew gets another."""

    name: str
    root: str
    description: str
    etag: str
    created: datetime
    holdout: HoldoutRule
    latest: Version


def dataset_name(parent: str, dataset_id: str) -> str:
    """The full name of a data set that is to be made. Raises `InvalidField`."""
    names.parse(PROJECT, parent, "parent")
    return f"{parent}/datasets/{names.check_id(dataset_id, 'dataset_id')}"


def split_version_name(name: str, field: str = "name") -> tuple[str, int | None]:
    """A version's data set and number; None is the newest. Raises `InvalidField`."""
    parts = names.parse(VERSION, name, field)
    number = None if parts["version"] == LATEST else names.number(parts["version"], field)
    return f"projects/{parts['project']}/datasets/{parts['dataset']}", number
