"""The file format of the directory store: a 64-byte header, then the object's bytes.

The header is written last, so a file with a good header is whole; the size in it shows a file that was cut later.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.common.errors import DigestMismatch
from services.common.objects.disk import engine_errors
from services.common.objects.seeking import SeekableReader

_MAGIC = b"RGOBJ001"
_LAYOUT = struct.Struct(">8sQ32s16x")
HEADER_BYTES = _LAYOUT.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of an object's bytes, and when they were written."""

    size: int
    digest: str
    modified: datetime


def write_body(handle: int, chunks: Iterable[bytes]) -> Header:
    """Streams `chunks` into an empty file behind its header, and syncs it. An error of the iterable goes through unchanged."""
    sha256 = hashlib.sha256()
    size = 0
    with engine_errors():
        os.lseek(handle, HEADER_BYTES, os.SEEK_SET)
    for chunk in chunks:
        sha256.update(chunk)
        size += len(chunk)
        with engine_errors():
            _write_all(handle, chunk)
    with engine_errors():
        os.pwrite(handle, _LAYOUT.pack(_MAGIC, size, sha256.digest()), 0)
        os.fsync(handle)
        return _header(handle, size, sha256.digest())


def open_body(path: Path, what: str) -> tuple[Header, Body]:
    """Opens a stored file. Raises `OSError`, and `DigestMismatch` where the file was cut or isn't of this format."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    body = Body(handle)
    head = os.pread(handle, HEADER_BYTES, 0)
    magic, size, sha256 = _LAYOUT.unpack(head.ljust(HEADER_BYTES, b"\0"))
    if magic != _MAGIC or os.fstat(handle).st_size != HEADER_BYTES + size:
        with body:
            recorded = f"sha256:{sha256.hex()}" if magic == _MAGIC else "no digest"
            raise DigestMismatch(what, expected=recorded, actual="that of a file of another length or format")
    body.size = size
    return _header(handle, size, sha256), body


class Body(SeekableReader):
    """The bytes behind the header as a seekable file of their own. Owns its handle, which keeps the bytes after a delete."""

    def __init__(self, handle: int) -> None:
        super().__init__(size=0)
        self._handle = handle

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer as far as the object goes."""
        window = memoryview(buffer).cast("B")[: max(0, self.size - self._at)]
        with engine_errors():
            count = os.preadv(self._handle, [window], HEADER_BYTES + self._at) if window else 0
        self._at += count
        return count

    def close(self) -> None:
        """Gives the handle back; twice is fine."""
        if not self.closed:
            os.close(self._handle)
        super().close()


def stream(body: Body, what: str, digest: str, *, offset: int, length: int | None, chunk: int) -> Iterator[bytes]:
    """Yields pieces of `chunk` bytes. A read of the whole object ends in `DigestMismatch` where they don't fit `digest`."""
    whole = offset == 0 and (length is None or length >= body.size)
    sha256 = hashlib.sha256()
    with body:
        body.seek(offset)
        left = body.size - offset if length is None else length
        while left > 0 and (piece := body.read(min(left, chunk))):
            left -= len(piece)
            if whole:
                sha256.update(piece)
            yield piece
    if whole and (actual := f"sha256:{sha256.hexdigest()}") != digest:
        raise DigestMismatch(what, expected=digest, actual=actual)


def _header(handle: int, size: int, sha256: bytes) -> Header:
    modified = datetime.fromtimestamp(os.fstat(handle).st_mtime, UTC)
    return Header(size=size, digest=f"sha256:{sha256.hex()}", modified=modified)


def _write_all(handle: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(handle, left) :]
