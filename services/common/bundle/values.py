"""Rows as users have them, read as the columns that a model was trained on.

Training reads the same columns from Parquet, so everything after this module is one and the same code in training and in
serving. A missing or unseen value never fails: it is answered with a warning. Only a value of a type that can't be read as
its column's kind (a list for a number, "abc" for a number) raises `InvalidField` naming the row and the column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidField
from services.common.quoting import quoted

Strings = list[str | None]
Column = npt.NDArray[np.float64] | Strings
Columns = dict[str, Column]

_FARTHEST = 2.5e11
"""Seconds from 1970 to the year 9,892: what lies farther away is no date."""

MOST_CHARACTERS = 100_000
"""A longer text is read up to here, in training and in serving alike: a 5 MB cell must not stall a request."""

_LONGEST_NAME = 200
_MOST_NAMED = 10

MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "<na>", "-", "?", "nat"})
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1", "1.0", "on"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0", "0.0", "off"})
"""The words that import reads so (`services.common.frames.casting`); a test holds the two together."""

_PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+|(?=\.[0-9]))(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_COMMA_NUMBER = re.compile(r"[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?")
_WHOLE = re.compile(r"[+-]?\d+\.0+")
DATE_FORMATS = tuple(
    day + clock
    for day in (
        "%Y/%m/%d",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%d.%m.%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d %b %Y",
        "%d-%b-%Y",
        "%b %d, %Y",
        "%d %B %Y",
        "%B %d, %Y",
        "%m/%d/%y",
        "%d/%m/%y",
        "%d.%m.%y",
        "%d-%b-%y",
    )
    for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
)
"""Spellings of times besides ISO 8601, those of import: the column's own style wins, then the earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warning:
    """Something about one value that the caller should know; the row was answered all the same."""

    field: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One column that the model reads.

    `missing_seen`: rows without a value were there in training, so none is no news. `style` is how the source spells the
    column (`decimal_comma`, `%d/%m/%Y`), empty where plain. `low` and `high`: the ends of what training saw of a number or
    (seconds since 1970) of a time; None where that isn't known.
    """

    name: str
    kind: str
    missing_seen: bool = False
    style: str = ""
    low: float | None = None
    high: float | None = None


def none_of(inputs: Sequence[Input]) -> str:
    """The problem with data that has not one column of the model: whatever came out would be made of nothing."""
    names = ", ".join(column.name for column in inputs[:_MOST_NAMED])
    return f"has none of the model's columns: {names}{', ...' if len(inputs) > _MOST_NAMED else ''}."


def read_rows(rows: Sequence[Mapping[str, object]], inputs: Sequence[Input]) -> tuple[Columns, list[list[Warning]]]:
    """Columns in the form that featurizers take, and the warnings of each row."""
    warnings: list[list[Warning]] = [[] for _ in rows]
    return {column.name: _read_column(rows, column, warnings) for column in inputs}, warnings


def read_cells(
    cells: Mapping[str, Sequence[object]], count: int, inputs: Sequence[Input]
) -> tuple[Columns, list[list[Warning]]]:
    """The same of `count` rows that came column by column; a column that isn't in `cells` wasn't sent."""
    warnings: list[list[Warning]] = [[] for _ in range(count)]
    return {column.name: _read_cells(cells.get(column.name), column, warnings) for column in inputs}, warnings


def _read_cells(cells: Sequence[object] | None, column: Input, warnings: list[list[Warning]]) -> Column:
    read, name, style = _READERS[column.kind], column.name, column.style
    values: list[Any] = []
    if cells is None:
        values = [None] * len(warnings)
    else:
        for i, cell in enumerate(cells):
            try:
                values.append(read(cell, style))
            except ValueError as error:
                raise InvalidField(f"{name}[{i}]", str(error)) from error
    if cells is None:
        for told in warnings:
            told.append(_unknown_value(column, "is not in the row"))
    elif None in values:
        for cell, value, told in zip(cells, values, warnings, strict=True):
            if value is None and (problem := _no_value(cell, column)):
                told.append(_unknown_value(column, problem))
    _warn_of_range(values, column, warnings)
    return values if column.kind in ("text", "categorical") else np.array(values, dtype=np.float64)  # None becomes NaN


def read_cell(cell: object, column: Input) -> float | str | None:
    """One cell, as a model reads it; None where it is missing. Raises `ValueError` with what would be right."""
    return _READERS[column.kind](cell, column.style)


def _read_column(rows: Sequence[Mapping[str, object]], column: Input, warnings: list[list[Warning]]) -> Column:
    read, name, style = _READERS[column.kind], column.name, column.style
    values: list[Any] = []
    for i, row in enumerate(rows):
        try:
            value = read(row.get(name), style)
        except ValueError as error:
            raise InvalidField(f"rows[{i}].{name}", str(error)) from error
        if value is None:
            problem = _no_value(row[name], column) if name in row else "is not in the row"
            if problem:
                warnings[i].append(_unknown_value(column, problem))
        values.append(value)
    _warn_of_range(values, column, warnings)
    return values if column.kind in ("text", "categorical") else np.array(values, dtype=np.float64)  # None becomes NaN


def _no_value(cell: object, column: Input) -> str:
    """What to tell of a cell that was read as missing; nothing where that is no news."""
    if isinstance(cell, float) and math.isinf(cell):
        return "is infinite, and no finite number"
    return "" if column.missing_seen else "has no value"


def _unknown_value(column: Input, problem: str) -> Warning:
    return Warning(field=column.name, problem=f"{problem}; the model takes it as unknown.")


def _warn_of_range(values: Sequence[Any], column: Input, warnings: list[list[Warning]]) -> None:
    low, high = column.low, column.high
    if column.kind == "text":
        for i, text in enumerate(values):
            if text is not None and len(text) == MOST_CHARACTERS:
                problem = f"is longer than {MOST_CHARACTERS:,} characters; the model doesn't read the rest."
                warnings[i].append(Warning(field=column.name, problem=problem))
    elif low is not None and high is not None:
        for i, value in enumerate(values):
            if value is not None and not low <= value <= high:
                shown, least, most = (spelled_number(one, column.kind) for one in (value, low, high))
                problem = f"{shown} is outside of what the model learned from: {least} to {most}."
                warnings[i].append(Warning(field=column.name, problem=problem))


def spelled_number(value: float, kind: str) -> str:
    """A number for a sentence; one of a `datetime` column as ISO 8601."""
    if kind == "datetime":
        return datetime.fromtimestamp(round(value), UTC).isoformat().replace("+00:00", "Z")
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def unknown(name: str, inputs: tuple[str, ...]) -> Warning:
    """Of a column that a model with these inputs doesn't read: with the input that it may be meant for."""
    return Warning(field=name[:_LONGEST_NAME], problem=_unknown(name[:_LONGEST_NAME], inputs))


@lru_cache(maxsize=1024)
def _unknown(name: str, inputs: tuple[str, ...]) -> str:
    close = get_close_matches(name.lower(), [one.lower() for one in inputs], n=1, cutoff=0.75)
    meant = next((f" Is '{one}' meant?" for one in inputs if close and one.lower() == close[0]), "")
    return f"is no column that the model reads.{meant}"


def text_of(cell: object, _style: str = "") -> str | None:
    """The text of a cell, cut at `MOST_CHARACTERS`; None where it is missing or blank."""
    if not isinstance(cell, str):
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return None
        if isinstance(cell, list | dict):
            problem = f"{quoted(cell)} is not a text: send a string."
            raise ValueError(problem)  # noqa: TRY004 (one kind of failure for every reader)
        cell = str(cell)
    text = cell[:MOST_CHARACTERS]
    return text if text and not text.isspace() else None


def category_of(cell: object, _style: str = "") -> str | None:
    """How a category is spelled: trimmed, whole numbers without decimals (`3`, 3.0 and `3.0` are one), true/false in small."""
    text = (text_of(cell) or "").strip()
    if text.endswith("0") and _WHOLE.fullmatch(text):
        return text.partition(".")[0]
    if len(text) in (4, 5) and (lowered := text.lower()) in ("true", "false"):
        return lowered
    return text or None


def number_of(cell: object, style: str = "") -> float | None:
    """The number in a cell, also where it comes as a string; None where it is missing."""
    if cell is None:
        return None
    if isinstance(cell, bool | int | float):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in MISSING_WORDS:
            return None
        if style == "decimal_comma" and _COMMA_NUMBER.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        if _PLAIN_NUMBER.fullmatch(text):
            number = float(text.replace(",", ""))
            return number if math.isfinite(number) else None
    problem = f"{quoted(cell)} is not a number: send a number, or null where there is none."
    raise ValueError(problem)


def boolean_of(cell: object, _style: str = "") -> float | None:
    """1.0, 0.0, or None where it is missing."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    word = str(cell).strip().lower()
    if word in MISSING_WORDS:
        return None
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return float(word in TRUE_WORDS)
    problem = f"{quoted(cell)} is not true or false: send true, false, or null."
    raise ValueError(problem)


def moment_of(cell: object, style: str = "") -> float | None:
    """Seconds since 1970 (UTC where no zone is said), from ISO 8601, common date formats or a number of seconds."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell) if abs(cell) < _FARTHEST else None
    if isinstance(cell, datetime | date):
        return _seconds(cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day, tzinfo=UTC))
    text = str(cell).strip()
    if text.lower() in MISSING_WORDS:
        return None
    moment = _first_that_parses(text, style)
    if moment is None:
        problem = f"{quoted(cell)} is not a point in time: send it as ISO 8601, for example 2026-03-27T14:53:00Z."
        raise ValueError(problem)
    return _seconds(moment)


def _first_that_parses(text: str, style: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for shape in (style, *DATE_FORMATS) if "%" in style else DATE_FORMATS:
        try:
            return datetime.strptime(text, shape)
        except ValueError:
            continue
    return None


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_READERS: dict[str, Callable[[object, str], float | str | None]] = {
    "text": text_of,
    "categorical": category_of,
    "numeric": number_of,
    "boolean": boolean_of,
    "datetime": moment_of,
}
