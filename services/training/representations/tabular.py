"""Fits the preprocessing of a table on training rows: centres, scales, categories, calendar parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from services.common.bundle.table import Category, Moment, Number, Table, cycle_position
from services.common.bundle.values import Columns, Input, Strings

MOST_CATEGORIES = 100
MOST_RARE = 2_000
_RARE_SHARE = 0.002


def fit_table(columns: Columns, inputs: Sequence[Input]) -> tuple[Table, list[str]]:
    """The table of the inputs that vary, and a note for each input that was left out and why."""
    numbers, moments, categories, notes = [], [], [], list[str]()
    for column in inputs:
        fitted: Number | Moment | Category | None
        if column.kind == "categorical":
            fitted = _fit_category(column.name, cast(Strings, columns[column.name]))
        else:
            values = np.asarray(columns[column.name], dtype=np.float64)
            fitted = _fit_moment(column.name, values) if column.kind == "datetime" else _fit_number(column.name, values)
        if fitted is None:
            notes.append(f"'{column.name}' was left out: {_why(columns[column.name])}.")
        elif isinstance(fitted, Category):
            categories.append(fitted)
        elif isinstance(fitted, Moment):
            moments.append(fitted)
        else:
            numbers.append(fitted)
    return Table(numbers=tuple(numbers), moments=tuple(moments), categories=tuple(categories)), notes


def _fit_number(name: str, values: npt.NDArray[np.float64]) -> Number | None:
    present = values[~np.isnan(values)]
    missing = len(present) < len(values)
    if len(present) == 0:
        return None
    low, center, high = np.quantile(present, [0.25, 0.5, 0.75])
    # Interquartile range, as RealMLP scales; a number that is mostly one value falls back to its range.
    spread = (high - low) or (present.max() - present.min()) / 2.0
    if spread == 0.0 and not missing:
        return None
    return Number(name=name, center=float(center), scale=float(1.0 / spread) if spread > 0 else 0.0, indicator=missing)


def _fit_moment(name: str, values: npt.NDArray[np.float64]) -> Moment | None:
    line = _fit_number(name, values)
    if line is None:
        return None
    present = values[~np.isnan(values)]
    cycles = tuple(c for c in ("hour", "weekday", "month") if len(np.unique(cycle_position(present, c))) > 2)
    return Moment(name=name, center=line.center, scale=line.scale, cycles=cycles, indicator=line.indicator)


def _fit_category(name: str, values: Strings) -> Category | None:
    counts = Counter(value for value in values if value is not None)
    missing = any(value is None for value in values)
    least = max(2, round(_RARE_SHARE * len(values)))
    ordered = [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    kept = tuple(value for value in ordered if counts[value] >= least)[:MOST_CATEGORIES]
    rare = tuple(ordered[len(kept) :])
    if len(kept) + bool(rare) + missing < 2:
        return None
    return Category(name=name, values=kept, rare=rare[:MOST_RARE], other=bool(rare), missing=missing)


def _why(values: object) -> str:
    present = [v for v in cast(Sequence[object], values) if v is not None and v == v]
    if not present:
        return "it has no value in any training row"
    return "it has the same value in every training row" if len(set(present)) == 1 else "every value is rare"
