"""Any object store, with how long its operations take and how many fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from services.common.metering import Meter
from services.common.objects.port import ObjectInfo, ObjectStore

OPERATIONS = Meter("object", "operations of the object store", "operation")


class MeasuredStore:
    """See `ObjectStore`; `engine` is the store itself. What streams is measured until its first byte can be read."""

    def __init__(self, store: ObjectStore) -> None:
        self.engine = store

    def put(self, bucket: str, key: str, content: bytes | BinaryIO | Iterable[bytes], *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put`."""
        with OPERATIONS.around("put"):
            return self.engine.put(bucket, key, content, if_absent=if_absent)

    def put_file(self, bucket: str, key: str, path: Path, *, if_absent: bool = False) -> ObjectInfo:
        """See `ObjectStore.put_file`."""
        with OPERATIONS.around("put"):
            return self.engine.put_file(bucket, key, path, if_absent=if_absent)

    def get(self, bucket: str, key: str) -> bytes:
        """See `ObjectStore.get`."""
        with OPERATIONS.around("get"):
            return self.engine.get(bucket, key)

    def read(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        with OPERATIONS.around("get"):
            return self.engine.read(bucket, key, offset=offset, length=length, chunk=chunk)

    def open(self, bucket: str, key: str) -> BinaryIO:
        """See `ObjectStore.open`."""
        with OPERATIONS.around("get"):
            return self.engine.open(bucket, key)

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        with OPERATIONS.around("stat"):
            return self.engine.stat(bucket, key)

    def exists(self, bucket: str, key: str) -> bool:
        """See `ObjectStore.exists`."""
        with OPERATIONS.around("stat"):
            return self.engine.exists(bucket, key)

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with OPERATIONS.around("list"):
            return self.engine.list(bucket, prefix)

    def delete(self, bucket: str, key: str) -> None:
        """See `ObjectStore.delete`."""
        with OPERATIONS.around("delete"):
            self.engine.delete(bucket, key)

    def presigned(self, bucket: str, key: str, *, expires: timedelta, file_name: str) -> str | None:
        """See `ObjectStore.presigned`."""
        return self.engine.presigned(bucket, key, expires=expires, file_name=file_name)

    def check(self) -> None:
        """See `ObjectStore.check`."""
        self.engine.check()
