"""The rows of a call, in whatever form they came: read as the columns of a model, and kept for the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from google.protobuf.struct_pb2 import Struct, Value

from services.common.bundle.values import Columns, Input, Warning, none_of, read_rows, unknown
from services.common.errors import InvalidField


class Rows(Protocol):
    """At least one row."""

    size: int
    """About how many bytes were sent: what a computation takes is learned by it."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def read(self, inputs: Sequence[Input]) -> tuple[Columns, list[list[Warning]]]:
        """As the columns that a model reads, with the warnings of each row. Raises `InvalidField`."""
        ...

    def beside(self, others: Sequence[Rows]) -> Rows | None:
        """These rows and the others' as rows of one call, for reading many at once costs little; None where they differ."""
        ...

    def features(self) -> Sequence[Struct]:
        """The rows for the log, as the caller sent them. Asked once, in the log's thread."""
        ...


class StructRows:
    """Rows as JSON objects."""

    def __init__(self, rows: Sequence[Struct], size: int) -> None:
        self._rows = rows
        self.size = size

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, inputs: Sequence[Input]) -> tuple[Columns, list[list[Warning]]]:
        """Raises `InvalidField` that names row and column; also where no row has a column of the model."""
        rows = [plain(row) for row in self._rows]
        if not any(column.name in row for row in rows for column in inputs):
            raise InvalidField("rows", none_of(inputs))
        return read_rows(rows, inputs)

    def warn_of_unknown(self, known: frozenset[str], inputs: tuple[str, ...], warnings: list[list[Warning]]) -> None:
        """Adds a warning for every column that is none of those that are `known`."""
        for row, told in zip(self._rows, warnings, strict=True):
            for name in row.fields:
                if name not in known:
                    told.append(unknown(name, inputs))

    def beside(self, others: Sequence[Rows]) -> None:
        """Objects are read one by one, whosoever's they are."""

    def features(self) -> Sequence[Struct]:
        """The objects themselves."""
        return self._rows


def plain(row: Struct) -> dict[str, object]:
    """A row as the bundle reads it."""
    return {name: _plain_value(value) for name, value in row.fields.items()}


def _plain_value(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [_plain_value(one) for one in value.list_value.values]
    return None if kind is None or kind == "null_value" else getattr(value, kind)
