"""Objects in MinIO, or any store that speaks S3.

An object is one S3 object, whose sha256 is in its own metadata: what is written gets its name, bytes and digest in one call,
so nothing torn is ever seen, whatever is killed when. Content of unknown size is spooled to a local file first, since the
digest must be known before that call. Conditional writes are the store's own (`If-None-Match`): one of many racing
writers wins.

Key `a/b` is S3 key `a/b!`. MinIO keeps objects in folders, and its listing of an object `a` beside `a/b` leaves the second out;
with a letter that no key has and that sorts before all that have, both are listed, in the order of the keys.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

import structlog
from minio import Minio
from minio.datatypes import Object
from minio.error import S3Error
from minio.helpers import DictType

from services.common.errors import AlreadyExists, EngineUnavailable, FailedPrecondition, InvalidField, NotFound
from services.common.objects.content import chunks_of
from services.common.objects.disk import engine_errors
from services.common.objects.keys import check_bucket, split_key, split_prefix
from services.common.objects.minio_client import S3Address
from services.common.objects.minio_errors import is_forbidden, is_refusal, is_replaced, is_taken, s3_errors
from services.common.objects.minio_reading import DIGEST, WRITER, Place, Reader, Stored, digest_of, read_windows
from services.common.objects.port import DATASETS, MODELS, ObjectInfo

SUFFIX = "!"
PART_BYTES = 16 << 20
"""What is larger is sent in parts of at least this size; a write holds one of them in memory."""

_MOST_PARTS = 9_000
_BUFFER_BYTES = 1 << 20
_ATTEMPTS = 5

log = structlog.get_logger()


class MinioStore:
    """An `ObjectStore` on an S3 server. Keeps nothing here: any number of threads and processes may share a server.

    A call waits for a store that is away, with growing pauses, for 7 seconds; then it raises `EngineUnavailable`.
    """

    def __init__(self, address: S3Address, *, spool_dir: Path, bucket_prefix: str = "") -> None:
        """Makes the buckets where needed; where the store is away, later. Raises `FailedPrecondition` where it refuses us."""
        self._address, self._prefix, self._spool_dir = address, bucket_prefix, spool_dir
        self._found: set[str] = set()
        self._finding = threading.Lock()
        with engine_errors():
            spool_dir.mkdir(parents=True, exist_ok=True)
        try:
            for bucket in (DATASETS, MODELS):
                self._server_bucket(bucket, address.probing)
        except EngineUnavailable as error:
            if is_refusal(error):
                raise _refused(address, error) from error
            log.warning("the object store is away", endpoint=address.endpoint, problem=error.message)

    def put(self, bucket: str, key: str, content: bytes | BinaryIO | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put`. An error while `content` is read leaves what was stored before."""
        place = self._place(bucket, key)
        if isinstance(content, bytes):
            return self._write(place, io.BytesIO(content), if_absent)
        with cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=PART_BYTES, dir=str(self._spool_dir))) as spooled:
            for chunk in chunks_of(content):
                with engine_errors():
                    spooled.write(chunk)
            return self._write(place, spooled, if_absent)

    def put_file(self, bucket: str, key: str, path: Path, *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put_file`."""
        place = self._place(bucket, key)
        with path.open("rb") as file:
            return self._write(place, file, if_absent)

    def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`. Raises `DigestMismatch` where the bytes aren't what was stored."""
        for attempt in range(_ATTEMPTS):
            try:
                return b"".join(self.read(bucket, key))
            except EngineUnavailable as error:
                if attempt + 1 == _ATTEMPTS or not is_replaced(error):
                    raise
        raise AssertionError

    def read(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """See `ObjectStore.read`. Reading the whole object ends in `DigestMismatch` where the bytes aren't what was stored."""
        for name, value, least in (("offset", offset, 0), ("length", length, 0), ("chunk", chunk, 1)):
            if value is not None and value < least:
                raise InvalidField(name, f"{value} is less than {least}.")
        place = self._place(bucket, key)
        try:
            windows = read_windows(place, offset, length)
        except S3Error as error:
            raise self._not_found(place) from error
        return (window[at : at + chunk] for window in windows for at in range(0, len(window), chunk))

    def open(self, bucket: str, key: str) -> BinaryIO:
        """See `ObjectStore.open`. A read raises `EngineUnavailable` where the object was replaced or deleted meanwhile."""
        return io.BufferedReader(Reader(self._look(bucket, key)), _BUFFER_BYTES)

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._look(bucket, key).info

    def exists(self, bucket: str, key: str) -> bool:
        """Whether `stat` would find it."""
        try:
            self.stat(bucket, key)
        except NotFound:
            return False
        return True

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`. What is written or deleted meanwhile may or may not be in the answer."""
        check_bucket(bucket)
        split_prefix(prefix)
        found = self._listed(bucket, prefix)
        return chain([*islice(found, 1)], found)  # the first page is asked for at the call

    def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        place = self._place(bucket, key)
        with s3_errors():
            place.client.remove_object(place.server_bucket, place.server_key)

    def presigned(self, bucket: str, key: str, *, expires: timedelta, file_name: str) -> str | None:
        """See `ObjectStore.presigned`."""
        place = self._look(bucket, key).place
        if self._address.public is None:
            return None
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)
        named: DictType = {"response-content-disposition": f'attachment; filename="{plain}"'}
        link: str = self._address.public.presigned_get_object(
            place.server_bucket, place.server_key, expires, response_headers=named
        )
        return link

    def check(self) -> None:
        """See `ObjectStore.check`: the store answers at once, lets us in, and has its buckets."""
        try:
            for bucket in (DATASETS, MODELS):
                name = self._server_bucket(bucket, self._address.probing)
                with s3_errors():
                    there = self._address.probing.bucket_exists(name)
                if not there:
                    raise _bucket_lost(name)
        except EngineUnavailable as error:
            raise EngineUnavailable("objects", f"{error.problem} ({self._address.endpoint})") from error

    def _place(self, bucket: str, key: str) -> Place:
        check_bucket(bucket)
        split_key(key)
        client = self._address.patient
        name = self._server_bucket(bucket, client)
        return Place(client=client, bucket=bucket, key=key, server_bucket=name, server_key=key + SUFFIX)

    def _server_bucket(self, bucket: str, client: Minio) -> str:
        """The bucket's name there. It is made where it isn't, once: if it is gone later, that is a loss, and is told."""
        name = self._prefix + bucket
        with self._finding:
            if name not in self._found:
                with s3_errors():
                    _ensure_bucket(client, name)
                self._found.add(name)
        return name

    def _look(self, bucket: str, key: str) -> Stored:
        place = self._place(bucket, key)
        try:
            return place.look()
        except S3Error as error:
            raise self._not_found(place) from error

    def _not_found(self, place: Place) -> NotFound | EngineUnavailable:
        """A missing bucket is a loss, not an empty store."""
        with s3_errors():
            there = place.client.bucket_exists(place.server_bucket)
        return NotFound("object", place.name) if there else _bucket_lost(place.server_bucket)

    def _write(self, place: Place, file: BinaryIO, if_absent: bool) -> ObjectInfo:
        digest, size = _measured(file)
        if if_absent and size > PART_BYTES and self.exists(place.bucket, place.key):
            raise AlreadyExists("object", place.name)  # spares the upload; what decides a race is the server
        writer = uuid.uuid4().hex
        client = self._address.conditional if if_absent else self._address.patient
        try:
            with s3_errors():
                client.put_object(
                    place.server_bucket, place.server_key, file, size, metadata={DIGEST: digest, WRITER: writer},
                    part_size=max(PART_BYTES, size // _MOST_PARTS), num_parallel_uploads=1,
                )  # fmt: skip
        except S3Error as error:
            # A repeated call whose first answer was lost finds its own object.
            if (found := _found_at(place)) is None or found.writer != writer:
                raise (AlreadyExists("object", place.name) if is_taken(error) else _upload_lost()) from error
            return found.info
        found = _found_at(place)
        modified = found.info.modified if found is not None else datetime.now(UTC)  # deleted already
        return ObjectInfo(bucket=place.bucket, key=place.key, size=size, digest=digest_of(digest), modified=modified)

    def _listed(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        client = self._address.patient
        found = client.list_objects(self._server_bucket(bucket, client), prefix=prefix, recursive=True, include_user_meta=True)
        while True:
            with s3_errors():
                if (one := next(found, None)) is None:
                    return
            if (info := self._info(bucket, one)) is not None:
                yield info

    def _info(self, bucket: str, found: Object) -> ObjectInfo | None:
        key = str(found.object_name)
        if not key.endswith(SUFFIX):
            return None  # somebody else's
        metadata = {name.lower(): value for name, value in (found.metadata or {}).items()}
        if DIGEST in metadata and found.last_modified is not None:  # MinIO lists metadata, other stores don't
            return ObjectInfo(
                bucket=bucket, key=key[: -len(SUFFIX)], size=int(found.size or 0), digest=digest_of(metadata[DIGEST]),
                modified=found.last_modified.replace(microsecond=0),
            )  # fmt: skip
        try:
            return self.stat(bucket, key[: -len(SUFFIX)])
        except NotFound:
            return None  # deleted since it was listed


def _measured(file: BinaryIO) -> tuple[str, int]:
    """The hexadecimal sha256 and the size of a file, which is at its beginning afterwards."""
    sha256, size = hashlib.sha256(), 0
    file.seek(0)
    for chunk in chunks_of(file):
        sha256.update(chunk)
        size += len(chunk)
    file.seek(0)
    return sha256.hexdigest(), size


def _found_at(place: Place) -> Stored | None:
    try:
        return place.look()
    except S3Error:
        return None


def _ensure_bucket(client: Minio, name: str) -> None:
    if client.bucket_exists(name):
        return
    try:
        client.make_bucket(name)
    except S3Error as error:
        if is_forbidden(error):
            problem = f"the bucket '{name}' isn't there, and the key may not make it; make it, or allow the key s3:CreateBucket"
            raise EngineUnavailable("objects", problem) from error
        if error.code != "BucketAlreadyOwnedByYou":  # another process was faster
            raise


def missing_buckets(address: S3Address, prefix: str) -> list[str]:
    """Those of Regrow's buckets that aren't there, by the server's names. Makes none.

    Raises `EngineUnavailable`, `FailedPrecondition` where the store refuses us.
    """
    try:
        with s3_errors():
            return [prefix + one for one in (DATASETS, MODELS) if not address.probing.bucket_exists(prefix + one)]
    except EngineUnavailable as error:
        if is_refusal(error):
            raise _refused(address, error) from error
        raise EngineUnavailable("objects", f"{error.problem} ({address.endpoint})") from error


def _refused(address: S3Address, error: EngineUnavailable) -> FailedPrecondition:
    told = f"The object store at {address.endpoint} can't be used: {error.problem}."
    return FailedPrecondition(told, reason="OBJECTS_REFUSED")


def _bucket_lost(name: str) -> EngineUnavailable:
    return EngineUnavailable("objects", f"the bucket '{name}' is missing; restore it from a backup")


def _upload_lost() -> EngineUnavailable:
    return EngineUnavailable("objects", "the store forgot an upload that was under way")
