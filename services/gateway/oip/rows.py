"""The tensors of a request as rows: each is a column, and all have as many elements as there are rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from google.protobuf.struct_pb2 import NULL_VALUE, Struct

from services.common.bundle.values import Columns, Input, Warning, none_of, read_cells
from services.common.errors import InvalidField
from services.gateway.inference.rows import Rows


class TensorRows:
    """`cells` by column, in the order in which they were sent."""

    def __init__(self, cells: Mapping[str, Sequence[object]], count: int, size: int) -> None:
        self._cells = cells
        self._count = count
        self.size = size

    def __len__(self) -> int:
        return self._count

    def read(self, inputs: Sequence[Input]) -> tuple[Columns, list[list[Warning]]]:
        """Passes over what the model doesn't read: the version before may have. Raises `InvalidField` where it reads none."""
        if not any(column.name in self._cells for column in inputs):
            raise InvalidField("inputs", none_of(inputs))
        return read_cells(self._cells, self._count, inputs)

    def beside(self, others: Sequence[Rows]) -> TensorRows | None:
        """All of them where all have the same columns."""
        cells: dict[str, Sequence[object]] = {}
        count, size = self._count, self.size
        for other in others:
            if not isinstance(other, TensorRows) or other._cells.keys() != self._cells.keys():
                return None
            count, size = count + other._count, size + other.size
        for name, own in self._cells.items():
            cells[name] = joined = list(own)
            for other in others:
                joined += other._cells[name]  # type: ignore[attr-defined]
        return TensorRows(cells, count, size)

    def features(self) -> list[Struct]:
        """A JSON object per row; what isn't a finite number is null."""
        rows = [Struct() for _ in range(self._count)]
        for name, cells in self._cells.items():
            for row, cell in zip(rows, cells, strict=True):
                value = row.fields[name]
                if isinstance(cell, str):
                    value.string_value = cell
                elif isinstance(cell, bool):
                    value.bool_value = cell
                elif isinstance(cell, int | float) and math.isfinite(cell):
                    value.number_value = cell
                else:
                    value.null_value = NULL_VALUE
        return rows
