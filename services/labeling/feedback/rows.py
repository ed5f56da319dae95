"""Features as a caller sent them, fitted to a data set's columns: what can't be read is missing, what isn't a column goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.common.errors import InvalidFields
from services.common.frames.kinds import Column, Schema
from services.labeling.datasets.rows import columns_of


def fitted_rows(features: Sequence[Mapping[str, object]], schema: Schema, *, target: str) -> list[dict[str, object]]:
    """Rows that `append_rows` accepts, one per entry of `features`; the target column is left missing."""
    rows: list[dict[str, object]] = [{} for _ in features]
    for column in schema:
        if column.name == target:
            continue
        values = _readable([entry.get(column.name) for entry in features], column)
        for row, value in zip(rows, values, strict=True):
            row[column.name] = value
    return rows


def _readable(values: list[object], column: Column) -> list[object]:
    """The values, None in place of those that the column's kind can't hold."""
    try:
        columns_of([{column.name: value} for value in values], Schema((column,)))
    except InvalidFields:
        return [value if _fits(value, column) else None for value in values]
    return values


def _fits(value: object, column: Column) -> bool:
    try:
        columns_of([{column.name: value}], Schema((column,)))
    except InvalidFields:
        return False
    return True
