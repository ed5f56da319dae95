"""What can be done with data sets: import, look up, retype, append, list rows, profile, export, delete.

Parts are written to the object store first and named in the database last, so a data set or version is there whole or not at
all. Two writers of one data set: the slower one finds a newer version at its commit and starts over from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
from sqlalchemy.orm import Session

from services.common import names
from services.common.database import Database, now
from services.common.errors import AlreadyExists, Busy, EtagMismatch, FailedPrecondition, TooLarge
from services.common.frames import parquet
from services.common.frames.export import export
from services.common.frames.kinds import Kind, listed
from services.common.frames.profile import Profile, profile_of_batches
from services.common.frames.sniffing import Format, readable_size
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.objects.port import DATASETS, LINK_LIFE, ObjectStore
from services.common.paging import Page
from services.labeling.datasets import profiles, retyping, storage
from services.labeling.datasets.intake import BIRTH, ImportOrder, Intake
from services.labeling.datasets.model import DATASET, PROJECT, Dataset, Origin, Version, split_version_name
from services.labeling.datasets.spool import scratch
from services.labeling.request_ids import IdempotencyKey

NextPage = Mapping[str, int] | None
"""The sort key behind which the next page begins; None on the last."""

Users = Callable[[Session, str], Sequence[str]]
"""Answers the names of what uses a data set, and so forbids that it is deleted without force."""

Forget = Callable[[Session, str], None]
"""Removes what belongs to a data set that is being deleted, in the same transaction."""

Also = Callable[[Session, Version, Version], None]
"""Runs in the transaction that adds a version, with the version before and the new one."""

MOST_PAGE_BYTES = 4 << 20
MOST_ROW_BYTES = 15 << 20
"""What fits in a message."""

_ATTEMPTS = 20
_SOON = timedelta(seconds=2)
_Made = tuple[parquet.StoredManifest, tuple[str, ...]]


class Datasets:
    """The data sets of all projects. Safe for many threads; other processes may share its database and object store.

    `users` and `forget` let the other parts of labeling, which build on data sets, have a say when one is deleted.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        scratch_dir: Path,
        *,
        users: Sequence[Users] = (),
        forget: Sequence[Forget] = (),
    ) -> None:
        self._database = database
        self._objects = objects
        self._scratch = scratch_dir
        self._users = users
        self._forget = forget

    def import_file(self, order: ImportOrder, chunks: Iterable[bytes], *, wanted: Callable[[], bool] = lambda: True) -> Dataset:
        """See `Intake.take`."""
        return Intake(database=self._database, objects=self._objects, scratch=self._scratch).take(order, chunks, wanted)

    def get(self, name: str) -> Dataset:
        """Raises `NotFound`."""
        names.parse(DATASET, name)
        with self._database.reading() as session:
            return storage.get_dataset(session, name)

    def list_datasets(self, parent: str, ask: Asked) -> tuple[list[Dataset], str]:
        """A page of a project's data sets, newest first, and the token of the next."""
        names.parse(PROJECT, parent, "parent")
        with self._database.reading() as session:
            return storage.list_datasets(session, parent, ask)

    def delete(self, name: str, *, force: bool = False, etag: str = "") -> None:
        """Raises `NotFound`, `FailedPrecondition` (`DATASET_IN_USE`) while something uses it, unless `force` is set, and
        `EtagMismatch` where it was changed since it had this etag.
        """
        names.parse(DATASET, name)
        with self._database.session() as session:
            dataset = storage.lock_dataset(session, name)
            _check_etag(dataset, etag)
            users = [user for find in self._users for user in find(session, name)]
            if users and not force:
                raise FailedPrecondition(
                    f"'{name}' is used by {listed(users)}. Set `force` to delete it together with them.",
                    reason="DATASET_IN_USE",
                )
            for forget in self._forget:
                forget(session, name)
            storage.remove_dataset(session, name)
            gone = self._objects_of(dataset)
        for key in gone:
            self._objects.delete(DATASETS, key)

    def version(self, name: str, field: str = "name") -> Version:
        """A version by its full name; `latest` and the bare name of a data set mean the newest. Raises `NotFound`."""
        dataset, number = split_version_name(name if "/versions/" in name else f"{name}/versions/latest", field)
        with self._database.reading() as session:
            return storage.get_version(session, dataset, number)

    def list_versions(self, parent: str, ask: Asked) -> tuple[list[Version], str]:
        """A page of a data set's versions, newest first, and the token of the next. Raises `NotFound`."""
        names.parse(DATASET, parent, "parent")
        with self._database.reading() as session:
            return storage.list_versions(session, parent, ask)

    def update_schema(self, name: str, kinds: Mapping[str, Kind], *, etag: str = "") -> Version:
        """A new version with other kinds. Raises `InvalidField`, `EtagMismatch`, `NotFound`."""

        def retype(dataset: Dataset, directory: Path) -> _Made:
            _check_etag(dataset, etag)
            return retyping.retype(self._objects, dataset.latest.object_key, kinds, directory)

        return self._add_version(name, Origin.SCHEMA, retype)

    def append_rows(
        self, name: str, rows: Sequence[Mapping[str, object]], *, request_id: str = "", fingerprint: str = "",
        origin: Origin = Origin.APPEND, also: Also | None = None,
    ) -> Version:  # fmt: skip
        """A new version with more rows, numbered from the row count of the version before; none is held out.

        `rows` map columns to JSON values. `also` runs in the transaction that adds the version. Repeated with the same
        `request_id` and `fingerprint` it answers the first version. Raises `InvalidFields`, `RequestIdReused`, `NotFound`.
        """
        key = {"scope": name, "request_id": request_id, "fingerprint": fingerprint}
        names.parse(DATASET, name)
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.get_version(session, *split_version_name(before))

        def extend(dataset: Dataset, directory: Path) -> _Made:
            return retyping.extend(self._objects, dataset.latest.object_key, rows, directory), ()

        return self._add_version(name, origin, extend, also=also, key=key)

    def read_rows(self, version: Version, row_numbers: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows in ascending order, with `__row` and `__holdout`; numbers that the version hasn't are left out."""
        return parquet.read_rows(self._objects, version.object_key, row_numbers, columns)

    def load_rows(self, version: Version, row_numbers: Sequence[int], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """`read_rows` as a frame like that of `parquet.load_version`, the index holding row numbers."""
        return parquet.frame_of(self.read_rows(version, row_numbers, columns))

    def read(self, version: Version, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, streamed."""
        return parquet.read_version(self._objects, version.object_key, columns)

    def list_rows(self, parent: str, page: Page) -> tuple[Version, pa.Table, NextPage]:
        """A page of rows in order, shorter than asked where rows are large, and the key of the next page. Raises `NotFound`."""
        version = self.version(parent, "parent")
        after = _key(page, "row")
        first = 0 if after is None else after + 1
        numbers = range(first, min(first + page.limit, version.row_count))
        table = parquet.read_rows(self._objects, version.object_key, numbers, most_bytes=MOST_PAGE_BYTES)
        while table.nbytes > MOST_PAGE_BYTES and table.num_rows > 1:
            table = table.slice(0, table.num_rows // 2)
        if table.nbytes > MOST_ROW_BYTES:
            raise TooLarge(f"Row {first}", limit=readable_size(MOST_ROW_BYTES), cure="Export the version to get it.")
        last = first + table.num_rows - 1
        return version, table, {"row": last} if last + 1 < version.row_count else None

    def profile(self, name: str) -> tuple[Version, Profile]:
        """What was seen in a version; computed once, then kept. Raises `NotFound`."""
        version = self.version(name)
        profile = profiles.kept(self._objects, version.object_key)
        if profile is None:
            rule = self.get(version.dataset).holdout
            profile = profile_of_batches(self.read(version), version.schema, rule)
            profiles.keep(self._objects, version.object_key, profile)
        return version, profile

    def export(self, name: str, file_format: Format) -> Iterator[bytes]:
        """The version as a file, in chunks. Raises `NotFound` at the call."""
        version = self.version(name)
        return export(self.read(version), version.schema, file_format)

    def export_link(self, name: str, file_format: Format) -> str | None:
        """A link to the version as a file, made once; None where the store has no address for callers. Raises `NotFound`."""
        version = self.version(name)
        if self._objects.presigned(DATASETS, version.object_key, expires=LINK_LIFE, file_name="") is None:
            return None
        key = f"{self.get(version.dataset).root}/exports/{version.number}.{file_format}"
        if not self._objects.exists(DATASETS, key):
            with suppress(AlreadyExists):  # another call was faster; its file is the same
                self._objects.put(DATASETS, key, self.export(version.name, file_format), if_absent=True)
        file_name = f"{version.dataset.rpartition('/')[2]}-{version.number}.{file_format}"
        return self._objects.presigned(DATASETS, key, expires=LINK_LIFE, file_name=file_name)

    def _objects_of(self, dataset: Dataset) -> list[str]:
        """Its own, and those of label sets and votes beside them; not those of an import of the same name that is under way."""
        beside, _, birth = dataset.root.rpartition("/")
        keys = [found.key for found in self._objects.list(DATASETS, f"{beside}/")]
        folders = {key: key.removeprefix(f"{beside}/").split("/")[0] for key in keys}
        return [key for key, folder in folders.items() if folder == birth or not BIRTH.fullmatch(folder)]

    def _add_version(
        self,
        name: str,
        origin: Origin,
        make: Callable[[Dataset, Path], _Made],
        *,
        also: Also | None = None,
        key: Mapping[str, str] | None = None,
    ) -> Version:
        key = key or {"scope": name, "request_id": "", "fingerprint": ""}
        for _ in range(_ATTEMPTS):
            dataset = self.get(name)
            with scratch(self._scratch) as directory:
                stored, notes = make(dataset, directory)
            version = Version.of(name, dataset.latest.number + 1, origin, stored, created=now(), notes=notes)
            with self._database.session() as session:
                if before := recall(session, IdempotencyKey, **key):
                    return storage.get_version(session, *split_version_name(before))
                if storage.lock_dataset(session, name).etag == dataset.etag:
                    storage.add_version(session, version)
                    remember(session, IdempotencyKey, **key, result=version.name)
                    if also is not None:
                        also(session, dataset.latest, version)
                    return version
        raise Busy(f"Too many calls change '{name}' at once.", retry_after=_SOON)


def _check_etag(dataset: Dataset, sent: str) -> None:
    if sent and sent != dataset.etag:
        raise EtagMismatch(dataset.name, sent=sent, current=dataset.etag)


def _key(page: Page, name: str) -> int | None:
    return None if page.after is None else int(page.after.get(name) or 0)
