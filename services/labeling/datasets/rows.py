"""JSON rows to typed columns and back: what AppendRows takes and ListRows gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.common.errors import FieldProblem, InvalidFields
from services.common.frames.batches import blank_to_null, text_array
from services.common.frames.casting import spelled, typed, without_missing_words
from services.common.frames.json_lines import cell_text
from services.common.frames.kinds import Column, Kind, Schema, listed

MOST_PROBLEMS = 20

_A = {Kind.NUMERIC: "a number", Kind.BOOLEAN: "true or false", Kind.DATETIME: "a time such as 2026-03-27T14:53:00Z"}


def columns_of(rows: Sequence[Mapping[str, object]], schema: Schema) -> list[pa.Array]:
    """Typed columns in the order of the schema; a column that a row lacks is missing there.

    Raises `InvalidFields` that names unknown columns and unreadable values by row, at most 20 of them.
    """
    problems = list(_unknown(rows, schema))
    columns = []
    for column in schema:
        cells = [row.get(column.name) for row in rows]
        texts = blank_to_null(text_array([_cell(cell, column.kind) for cell in cells]))
        values = _read(texts, column, [isinstance(cell, int | float) for cell in cells])
        columns.append(values)
        problems += _unreadable(texts, values, column)
    if problems:
        raise InvalidFields(problems[:MOST_PROBLEMS])
    return columns


def _cell(value: object, kind: Kind) -> str | None:
    if kind is Kind.DATETIME and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC).isoformat()
        except (ValueError, OverflowError, OSError):
            return str(value)
    return cell_text(value)


def _read(texts: pa.StringArray, column: Column, numbers: Sequence[bool]) -> pa.Array:
    """As the column is spelled, else plainly: JSON writes times its own way. A JSON number has one spelling."""
    values = typed(texts, column)
    if not column.style or not (any(numbers) or values.null_count > texts.null_count):
        return values
    plain = typed(texts, replace(column, style=""))
    return pc.coalesce(pc.if_else(pa.array(numbers), plain, values), plain)


def _unknown(rows: Sequence[Mapping[str, object]], schema: Schema) -> Iterator[FieldProblem]:
    known = set(schema.names)
    for index, row in enumerate(rows):
        for name in row.keys() - known:
            yield FieldProblem(
                field=f"rows[{index}].{name[:100]}",
                problem=f"there is no such column. The columns are: {listed(schema.names)}.",
            )


def _unreadable(texts: pa.StringArray, values: pa.Array, column: Column) -> Iterator[FieldProblem]:
    if column.kind.is_string or values.null_count == texts.null_count:
        return
    lost = pc.and_(pc.is_null(values), pc.is_valid(without_missing_words(texts)))
    for index in pc.indices_nonzero(lost).to_pylist():
        shown = texts[index].as_py()[:60]
        yield FieldProblem(field=f"rows[{index}].{column.name[:100]}", problem=f"'{shown}' isn't {_A[column.kind]}.")


def values_of(batch: pa.RecordBatch, schema: Schema) -> Iterator[dict[str, Any]]:
    """Rows as JSON values: times as ISO 8601, a missing value as None. `batch` has the schema's columns."""
    columns = [
        spelled(batch.column(column.name).to_pylist())
        if column.kind is Kind.DATETIME
        else batch.column(column.name).to_pylist()
        for column in schema
    ]
    for cells in zip(*columns, strict=True):
        yield dict(zip(schema.names, cells, strict=True))
