"""Objects as files in a folder: the embedded store, which needs no server.

An object is one file: a header with its size and sha256, then its bytes. Because the digest lives in the same file, an
object can't be seen without it, whatever is killed when; and a plain copy of the folder is a backup. A write streams into
`.incoming` on the same file system, is synced, and only then gets its name: by `link`, which fails where the name is taken
(so one of many racing writers wins), or by `rename`, which replaces. What a killed writer left in `.incoming` is swept by
the next start that finds it an hour old.

Key `a/b` of bucket `regrow-models` is the file `regrow-models/a/b@`: no key has an `@`, so object `a` and folder `a` live
side by side. Needs a POSIX file system with hard links.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from services.common.errors import AlreadyExists, EngineUnavailable, InvalidField, NotFound
from services.common.objects.body import Body, Header, open_body, stream, write_body
from services.common.objects.content import chunks_of
from services.common.objects.disk import check_room, engine_errors, publish, sync_folder
from services.common.objects.keys import check_bucket, split_key, split_prefix
from services.common.objects.port import ObjectInfo

SUFFIX = "@"
INCOMING = ".incoming"
STALE_AFTER = timedelta(hours=1)
"""A living writer touches its file far more often than this."""


class DirectoryStore:
    """An `ObjectStore` in the folder `root`. Its only state is the folder: any number of threads and processes may share it."""

    def __init__(self, root: Path) -> None:
        """Makes the folder where needed. Raises `EngineUnavailable` where that fails."""
        self._root = root
        self._incoming = root / INCOMING
        with engine_errors():
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def put(self, bucket: str, key: str, content: bytes | BinaryIO | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put`. An error while `content` is read leaves what was stored before."""
        path = self._path(bucket, key)
        taken = AlreadyExists("object", f"{bucket}/{key}")
        if if_absent and path.exists():
            raise taken  # spares the upload; what decides a race is `publish`
        staged = self._incoming / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            header = _stage(staged, content)
            try:
                with engine_errors(passing=FileExistsError):
                    publish(staged, path, replace=not if_absent)
            except FileExistsError:
                raise taken from None
        finally:
            with engine_errors():
                staged.unlink(missing_ok=True)
        return _info(bucket, key, header)

    def put_file(self, bucket: str, key: str, path: Path, *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put_file`."""
        with path.open("rb") as file:
            return self.put(bucket, key, file, if_absent=if_absent)

    def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`. Raises `DigestMismatch` where the bytes aren't what was stored."""
        return b"".join(self.read(bucket, key))

    def read(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """See `ObjectStore.read`. Reading the whole object ends in `DigestMismatch` where the bytes aren't what was stored."""
        for name, value, least in (("offset", offset, 0), ("length", length, 0), ("chunk", chunk, 1)):
            if value is not None and value < least:
                raise InvalidField(name, f"{value} is less than {least}.")
        header, body = self._open(bucket, key)
        return stream(body, _what(bucket, key), header.digest, offset=offset, length=length, chunk=chunk)

    def open(self, bucket: str, key: str) -> BinaryIO:
        """See `ObjectStore.open`. The reader keeps its bytes even where the object is replaced or deleted meanwhile."""
        return io.BufferedReader(self._open(bucket, key)[1], 1 << 16)

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        header, body = self._open(bucket, key)
        body.close()
        return _info(bucket, key, header)

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
        folders, start = split_prefix(prefix)
        self._check_present()
        return self._walk(bucket, folders, start)

    def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`. Once it returns, a power cut doesn't bring the object back."""
        path = self._path(bucket, key)
        self._check_present()
        with engine_errors():
            try:
                path.unlink()
            except FileNotFoundError:
                return
            sync_folder(path.parent)

    def presigned(self, bucket: str, key: str, *, expires: timedelta, file_name: str) -> str | None:
        """See `ObjectStore.presigned`: None, since a folder has no address."""
        self.stat(bucket, key)
        return None

    def check(self) -> None:
        """See `ObjectStore.check`: the folder is there, takes a file, and has room."""
        probe = self._incoming / f"probe-{uuid.uuid4().hex}"
        with engine_errors():
            probe.touch()
            probe.unlink()
            check_room(self._root)

    def _path(self, bucket: str, key: str) -> Path:
        check_bucket(bucket)
        *folders, name = split_key(key)
        return self._root.joinpath(bucket, *folders, name + SUFFIX)

    def _check_present(self) -> None:
        """A missing root is an unmounted volume, not an empty store."""
        if not self._incoming.is_dir():
            raise EngineUnavailable("objects", f"the folder '{self._root}' is missing; mount or restore it")

    def _open(self, bucket: str, key: str) -> tuple[Header, Body]:
        try:
            with engine_errors(passing=FileNotFoundError):
                return open_body(self._path(bucket, key), _what(bucket, key))
        except FileNotFoundError:
            self._check_present()
            raise NotFound("object", f"{bucket}/{key}") from None

    def _walk(self, bucket: str, folders: Sequence[str], start: str) -> Iterator[ObjectInfo]:
        for name in _names(self._root.joinpath(bucket, *folders)):
            if name.endswith("/") and name.startswith(start):
                yield from self._walk(bucket, [*folders, name[:-1]], "")
            elif name.startswith(start):
                try:
                    yield self.stat(bucket, "/".join([*folders, name]))
                except NotFound:
                    continue  # deleted since the folder was read

    def _sweep(self) -> None:
        oldest = time.time() - STALE_AFTER.total_seconds()
        for left in self._incoming.iterdir():
            try:
                if left.stat().st_mtime < oldest:
                    left.unlink()
            except FileNotFoundError:
                continue  # another process sweeps too, or its writer was done


def _stage(staged: Path, content: bytes | BinaryIO | Iterable[bytes]) -> Header:
    with engine_errors():
        handle = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        return write_body(handle, chunks_of(content))
    finally:
        os.close(handle)


def _names(folder: Path) -> Sequence[str]:
    """Folders end in `/`, so that sorting the names sorts the keys below them: `a`, `a-b`, `a/c`, `a0`."""
    with engine_errors(passing=FileNotFoundError):
        try:
            entries = [(entry.name, entry.is_dir()) for entry in os.scandir(folder)]
        except FileNotFoundError:
            return []
    objects = [name.removesuffix(SUFFIX) for name, is_folder in entries if not is_folder and name.endswith(SUFFIX)]
    return sorted(objects + [f"{name}/" for name, is_folder in entries if is_folder])


def _what(bucket: str, key: str) -> str:
    return f"Object '{bucket}/{key}'"


def _info(bucket: str, key: str, header: Header) -> ObjectInfo:
    return ObjectInfo(bucket=bucket, key=key, size=header.size, digest=header.digest, modified=header.modified)
