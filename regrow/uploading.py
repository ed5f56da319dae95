"""Turns a file, or a DataFrame, into the messages of an import: the first says what it is, each carries up to 1 MiB."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from regrow import choices
from regrow.labeling.v1 import datasets_pb2
from regrow.rows import file_of, is_frame
from regrow.types.v1 import schema_pb2

CHUNK = 1 << 20


def overrides(kinds: Mapping[str, str]) -> list[schema_pb2.Column]:
    """Columns with the kinds that a person gave them. Raises `ValueError` for a kind that there isn't."""
    return [schema_pb2.Column(name=column, kind=choices.number(schema_pb2.ColumnKind, kind)) for column, kind in kinds.items()]


def opened(source: Any) -> tuple[str, Callable[[], BinaryIO]]:
    """The source's file name, and a way to read its bytes from the start (again, where an upload broke)."""
    if is_frame(source):
        name, content = file_of(source)
        return name, lambda: io.BytesIO(content)
    path = Path(source)
    return path.name, lambda: path.open("rb")


def messages(
    first: datasets_pb2.ImportDatasetRequest, open_file: Callable[[], BinaryIO], sent: Callable[[int], None]
) -> Iterator[datasets_pb2.ImportDatasetRequest]:
    """The upload's messages. `sent` is told how many bytes were handed over so far."""
    yield first
    total = 0
    with open_file() as file:
        while chunk := file.read(CHUNK):
            yield datasets_pb2.ImportDatasetRequest(content=chunk)
            total += len(chunk)
            sent(total)
