"""From an upload to a published data set: spooled, imported, and named in the database only when all of it is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from services.common.database import Database, new_etag, now
from services.common.errors import AlreadyExists, Cancelled
from services.common.frames.importing import Imported, Wish, discard, import_file
from services.common.idempotency import recall, remember
from services.common.objects.port import ObjectStore
from services.labeling.datasets import profiles, storage
from services.labeling.datasets.model import Dataset, Origin, Version, dataset_name
from services.labeling.datasets.spool import Spooled, check_sha256, spooled
from services.labeling.request_ids import IdempotencyKey

BIRTH = re.compile(r"[0-9a-f]{12}")
"""The folder of one data set's objects, new with every import: see `services.common.frames.parquet`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """What an import is asked for. `fingerprint` stands for all of it but the file's bytes."""

    parent: str
    dataset_id: str
    description: str = ""
    wish: Wish
    content_sha256: str = ""
    request_id: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes uploads. Safe for many threads."""

    database: Database
    objects: ObjectStore
    scratch: Path

    def take(self, order: ImportOrder, chunks: Iterable[bytes], wanted: Callable[[], bool]) -> Dataset:
        """Makes a data set of an upload. `wanted` is asked before it is published: a caller that left gets none.

        Raises `AlreadyExists`, `UnreadableFile`, `TooLarge`, `InvalidField`, `RequestIdReused`; then nothing stays behind.
        """
        name = dataset_name(order.parent, order.dataset_id)
        if not order.request_id:
            self._check_free(name)  # before the upload; with a request_id an existing one may be the answer
        with spooled(self.scratch, chunks, most_bytes=order.wish.most_bytes) as upload:
            check_sha256(upload, order.content_sha256)
            key = _key(order, upload)
            with self.database.session() as session:
                if before := recall(session, IdempotencyKey, **key):
                    return storage.get_dataset(session, before)
            self._check_free(name)
            root = f"{order.parent.removeprefix('projects/')}/{order.dataset_id}/{secrets.token_hex(6)}"
            imported = import_file(self.objects, root, upload.path, upload.directory, order.wish)
        try:
            _check(wanted)
            profiles.keep(self.objects, imported.stored.key, imported.profile)
            published = self._publish(_dataset(name, root, order, imported), key)
        except BaseException:
            discard(self.objects, root)
            raise
        if published.root != root:
            discard(self.objects, root)
        return published

    def _check_free(self, name: str) -> None:
        with self.database.reading() as session:
            if storage.exists(session, name):
                raise AlreadyExists("dataset", name)

    def _publish(self, dataset: Dataset, key: dict[str, str]) -> Dataset:
        with self.database.session() as session:
            if before := recall(session, IdempotencyKey, **key):  # a twin of this call was faster
                return storage.get_dataset(session, before)
            if storage.exists(session, dataset.name):
                raise AlreadyExists("dataset", dataset.name)
            storage.add_dataset(session, dataset)
            remember(session, IdempotencyKey, **key, result=dataset.name)
        return dataset


def _check(wanted: Callable[[], bool]) -> None:
    if not wanted():
        raise Cancelled("The caller left before the data set was published.")


def _key(order: ImportOrder, upload: Spooled) -> dict[str, str]:
    fingerprint = hashlib.sha256(f"{order.fingerprint}\n{upload.sha256}".encode()).hexdigest()
    return {"scope": order.parent, "request_id": order.request_id, "fingerprint": fingerprint}


def _dataset(name: str, root: str, order: ImportOrder, imported: Imported) -> Dataset:
    created = now()
    first = Version.of(name, 1, Origin.IMPORT, imported.stored, created=created, notes=imported.notes)
    return Dataset(
        name=name, root=root, description=order.description, etag=new_etag(), created=created,
        holdout=order.wish.holdout, latest=first,
    )  # fmt: skip
