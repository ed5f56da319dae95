"""The object store port: where data sets and artifacts live.

Keys are `/`-separated paths of `[a-zA-Z0-9._=-]` segments. An object is written whole or not at all, is never changed in
place, and carries the sha256 of its bytes. Two adapters exist: a directory (embedded), and S3 through MinIO's SDK.
One contract suite (`tests/contract/test_objects.py`) holds for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

LINK_LIFE = timedelta(minutes=10)
"""How long a link that is handed out stays good."""

LINK_TYPE = "text/uri-list"
"""The content type of an answer that is a link (RFC 2483)."""

DATASETS = "regrow-datasets"
MODELS = "regrow-models"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What the store knows of one object. `digest` is `sha256:<hex>`."""

    bucket: str
    key: str
    size: int
    digest: str
    modified: datetime


class ObjectStore(Protocol):
    """Safe for use from many threads and processes."""

    def put(self, bucket: str, key: str, content: bytes | BinaryIO | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """Writes an object whole, or leaves what was there. `InvalidField` names a bad bucket or key.

        With `if_absent`, raises `AlreadyExists` where the key is taken: of many racing writers, one wins.
        """
        ...

    def put_file(self, bucket: str, key: str, path: Path, *, if_absent: bool = False) -> ObjectInfo:
        """Writes a local file's bytes; bounded memory."""
        ...

    def get(self, bucket: str, key: str) -> bytes:
        """All bytes. Raises `NotFound`."""
        ...

    def read(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """Streams bytes from `offset`, at most `length`. Raises `NotFound` at the call, not at the first chunk.

        Where the object is replaced or deleted meanwhile, the rest is of the same object, or an error: never of another.
        """
        ...

    def open(self, bucket: str, key: str) -> BinaryIO:
        """A seekable reader (what Parquet needs). Raises `NotFound`."""
        ...

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """Raises `NotFound`."""
        ...

    def exists(self, bucket: str, key: str) -> bool:
        """Whether `stat` would find it."""
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in order of key."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Idempotent: deleting what isn't there is no error."""
        ...

    def presigned(self, bucket: str, key: str, *, expires: timedelta, file_name: str) -> str | None:
        """A link with which anyone may download the object until it expires, saved as `file_name`. Raises `NotFound`.

        None where the store has no address that others may reach.
        """
        ...

    def check(self) -> None:
        """Raises `EngineUnavailable` where the store can't be used now."""
        ...
