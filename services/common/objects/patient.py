"""Any object store, waited for while it is away: for work that nobody waits for at the other end of a call."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from services.common.errors import Cancelled, EngineUnavailable
from services.common.objects.port import ObjectInfo, ObjectStore
from services.common.objects.seeking import SeekableReader

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_BUFFER_BYTES = 1 << 20


class PatientStore:
    """See `ObjectStore`. What `store` refuses with `EngineUnavailable` is asked again, with growing pauses.

    A call does so for at most `patience` from its first refusal, then the refusal is the caller's. `told` hears what is waited
    for, each time that it changes, and None when it is over. `pause(seconds)` waits; where it answers True, the call ends in
    `Cancelled`. What a reader was promised holds: it goes on in the very object that it began with, or ends in the refusal.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        patience: timedelta,
        told: Callable[[EngineUnavailable | None], None],
        pause: Callable[[float], bool],
    ) -> None:
        self.engine, self._patience, self._told, self._pause = store, patience.total_seconds(), told, pause

    def put(self, bucket: str, key: str, content: bytes | BinaryIO | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put`. Bytes alone are sent again: a stream is used up by its first refusal."""
        if not isinstance(content, bytes):
            return self.engine.put(bucket, key, content, if_absent=if_absent)
        return self._asked(lambda: self.engine.put(bucket, key, content, if_absent=if_absent))

    def put_file(self, bucket: str, key: str, path: Path, *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put_file`."""
        return self._asked(lambda: self.engine.put_file(bucket, key, path, if_absent=if_absent))

    def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._asked(lambda: self.engine.get(bucket, key))

    def read(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """See `ObjectStore.read`. One that broke off is read again from its beginning, so that its digest is still checked."""
        found = self.stat(bucket, key)
        parts: Iterator[bytes] | None = None
        given = 0

        def following() -> bytes | None:
            nonlocal parts
            try:
                if parts is None:
                    whole = self.engine.read(bucket, key, offset=offset, length=length, chunk=chunk)
                    parts = islice(whole, given, None)
                return next(parts, None)
            except EngineUnavailable:
                parts = None
                raise

        def rest(one: bytes | None) -> Iterator[bytes]:
            nonlocal given
            while one is not None:
                given += 1
                yield one
                one = self._asked(following, found)

        return rest(self._asked(following, found))

    def open(self, bucket: str, key: str) -> BinaryIO:
        """See `ObjectStore.open`."""
        found = self.stat(bucket, key)
        reader = _Reader(lambda: self.engine.open(bucket, key), found.size, lambda fill: self._asked(fill, found))
        return io.BufferedReader(reader, _BUFFER_BYTES)

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        return self._asked(lambda: self.engine.stat(bucket, key))

    def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        return self._asked(lambda: self.engine.exists(bucket, key))

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; all of it is read at the call."""
        return iter(self._asked(lambda: [*self.engine.list(bucket, prefix)]))

    def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._asked(lambda: self.engine.delete(bucket, key))

    def presigned(self, bucket: str, key: str, *, expires: timedelta, file_name: str) -> str | None:
        """See `ObjectStore.presigned`."""
        return self._asked(lambda: self.engine.presigned(bucket, key, expires=expires, file_name=file_name))

    def check(self) -> None:
        """See `ObjectStore.check`: at once, as the store is now."""
        self.engine.check()

    def _asked(self, ask: Callable[[], T], reading: ObjectInfo | None = None) -> T:
        """`reading` is the object that the call goes on with: where it is no longer there, no patience brings it back."""
        pause, begun, problem = _FIRST_PAUSE, 0.0, ""
        try:
            while True:
                try:
                    return ask()
                except EngineUnavailable as error:
                    begun = begun or time.monotonic()
                    if time.monotonic() + pause > begun + self._patience or (reading is not None and self._is_lost(reading)):
                        raise
                    if error.problem != problem:
                        problem = error.problem
                        self._told(error)
                if self._pause(pause):
                    raise Cancelled("It was cancelled while the object store was away.")
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            if problem:
                self._told(None)

    def _is_lost(self, known: ObjectInfo) -> bool:
        """Whether it was replaced. Raises `NotFound` where it was deleted."""
        try:
            return self.engine.stat(known.bucket, known.key).digest != known.digest
        except EngineUnavailable:
            return False  # nobody can tell yet


class _Reader(SeekableReader):
    """An object as a seekable file; `asked` makes a read again while the store is away, on a source that is opened anew."""

    def __init__(self, begin: Callable[[], BinaryIO], size: int, asked: Callable[[Callable[[], bytes]], bytes]) -> None:
        super().__init__(size)
        self._begin, self._asked = begin, asked
        self._source: BinaryIO | None = None

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills the buffer as far as the object goes."""
        view = memoryview(buffer).cast("B")
        content = self._asked(lambda: self._read(len(view)))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _read(self, length: int) -> bytes:
        try:
            if self._source is None:
                self._source = self._begin()
            self._source.seek(self._at)
            return self._source.read(length)
        except EngineUnavailable:
            self._source = None  # what its buffer holds after a broken read is unknown
            raise

    def close(self) -> None:
        """Gives the source back."""
        if self._source is not None:
            self._source.close()
        super().close()
