"""Reads of an S3 object by windows of its bytes.

A window is taken whole, then the connection is free: MinIO holds a lock on an object while its answer is under way, so that a
slow reader of one long answer keeps writers of the object waiting for 30 seconds. All windows of one reader ask for the same
etag, so it never mixes an object with its successor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from minio import Minio
from minio.error import S3Error
from minio.helpers import DictType
from urllib3.exceptions import HTTPError

from services.common.errors import DigestMismatch, EngineUnavailable
from services.common.objects.minio_errors import is_gone, is_range_outside, is_taken, s3_errors
from services.common.objects.port import ObjectInfo
from services.common.objects.seeking import SeekableReader

WINDOW_BYTES = 8 << 20
"""The most that a reader holds."""

DIGEST = "x-amz-meta-regrow-sha256"
"""The hexadecimal sha256 of the bytes, written with them."""

WRITER = "x-amz-meta-regrow-write"
"""Different for every write: tells a writer whose answer was lost that it was the one."""

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object is, or will be: `bucket` and `key` as the port has them, and as the server does."""

    client: Minio
    bucket: str
    key: str
    server_bucket: str
    server_key: str

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.bucket}/{self.key}"

    def look(self) -> Stored:
        """What is there now. Raises `S3Error` where nothing is, `EngineUnavailable`."""
        with s3_errors():
            found = self.client.stat_object(self.server_bucket, self.server_key)
        return self._stored(found.metadata or {}, int(found.size or 0))

    def window(self, offset: int, length: int, etag: str = "") -> tuple[Stored, bytes]:
        """At most `length` (at least 1) bytes from `offset`, and what they are of.

        Raises `S3Error` where nothing is there, another than `etag` says, or what ends before `offset`; `EngineUnavailable`.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._window(offset, length, etag)
            except HTTPError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise EngineUnavailable("objects", "the store breaks off its answers") from error
        raise AssertionError

    def _window(self, offset: int, length: int, etag: str) -> tuple[Stored, bytes]:
        condition: DictType = {"If-Match": f'"{etag}"'} if etag else {}
        with s3_errors():
            answer = self.client.get_object(self.server_bucket, self.server_key, offset, length, request_headers=condition)
        with closing(answer):
            content: bytes = answer.read()  # a connection that breaks here is an HTTPError: `window` asks again
            answer.release_conn()
        return self._stored(answer.headers, int(answer.headers["content-range"].rpartition("/")[2])), content

    def _stored(self, headers: Mapping[str, str], size: int) -> Stored:
        info = ObjectInfo(
            bucket=self.bucket, key=self.key, size=size, digest=digest_of(headers.get(DIGEST)),
            modified=parsedate_to_datetime(headers["last-modified"]),
        )  # fmt: skip
        return Stored(place=self, info=info, etag=headers.get("etag", "").strip('"'), writer=headers.get(WRITER, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object as it was when it was looked up. `etag` is the server's name of these very bytes."""

    place: Place
    info: ObjectInfo
    etag: str
    writer: str

    def window(self, offset: int, length: int) -> bytes:
        """At most `length` (at least 1) bytes from `offset`, inside. Raises `EngineUnavailable`, also where it was replaced."""
        try:
            return self.place.window(offset, length, self.etag)[1]
        except S3Error as error:
            if is_gone(error) or is_taken(error):
                problem = f"the object '{self.place.name}' was replaced or deleted while it was read"
                raise EngineUnavailable("objects", problem) from error
            raise


def digest_of(hexadecimal: str | None) -> str:
    """`sha256:<hex>`. What somebody else wrote into the bucket has no digest, and no read of it ends well."""
    return f"sha256:{hexadecimal}" if hexadecimal else "none"


def read_windows(place: Place, offset: int, length: int | None) -> Iterator[bytes]:
    """The asked bytes; the first window is read at the call. Raises `S3Error` where nothing is there, `EngineUnavailable`.

    A read of the whole object checks its digest before the last window is handed out, else raises `DigestMismatch`.
    """
    first = WINDOW_BYTES if length is None else min(WINDOW_BYTES, length)
    try:
        stored, content = place.window(offset, first) if first else (place.look(), b"")
    except S3Error as error:
        if not is_range_outside(error):
            raise
        stored, content = place.look(), b""
    return _windows(stored, content, offset, length)


def _windows(stored: Stored, content: bytes, offset: int, length: int | None) -> Iterator[bytes]:
    size, digest, sha256 = stored.info.size, stored.info.digest, hashlib.sha256()
    end = size if length is None else min(size, offset + length)
    whole, at = offset == 0 and end == size, offset + len(content)
    while at < end:
        sha256.update(content)
        yield content
        content = stored.window(at, min(WINDOW_BYTES, end - at))
        at += len(content)
    sha256.update(content)
    if whole and (actual := f"sha256:{sha256.hexdigest()}") != digest:
        raise DigestMismatch(f"Object '{stored.place.name}'", expected=digest, actual=actual)
    yield content


class Reader(SeekableReader):
    """A stored object as a seekable file. Put a buffer before it: every read is a call."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored.info.size)
        self._stored = stored

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer as far as the object and one window go."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.size - self._at, WINDOW_BYTES)
        if wanted <= 0:
            return 0
        content = self._stored.window(self._at, wanted)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)
