"""Text to typed values and back, column by column.

A value that can't be read as its column's kind becomes null; callers count those and tell. Words that stand for "no value"
(`NA`, `null`, ...) are missing in numbers, times and booleans, but stay values in text and categories, where `NA` may be
Namibia.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from services.common.frames.kinds import Column, Kind, plain_text

MISSING_WORDS = ("na", "n/a", "#n/a", "nan", "null", "none", "<na>", "-", "?", "nat")
TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0", "on")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0", "off")
ISO = "ISO8601"

INSTANT = pa.timestamp("us", "UTC")
_EARLIEST, _LATEST = -62_135_596_800_000_000, 250_000_000_000_000_000  # microseconds: what every tool can show as a date


class NumberStyle(StrEnum):
    """How numbers are spelled. The empty one is plain: `-1234.5e3`."""

    PLAIN = ""
    THOUSANDS = "thousands"
    """`1,234.5`, as well as plain ones."""
    DECIMAL_COMMA = "decimal_comma"
    """`1.234,5` and `12,5`."""


_SPELLINGS = {
    NumberStyle.PLAIN: r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$",
    NumberStyle.THOUSANDS: r"^[+-]?([0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?)$",
    NumberStyle.DECIMAL_COMMA: r"^[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?$",
}

DATE_STYLES = tuple(
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
"""Spellings of times besides ISO 8601. Where a column fits two, the earlier in this list wins (month first)."""


def type_of(kind: Kind) -> pa.DataType:
    """The Arrow type that values of a kind are kept in."""
    if kind is Kind.NUMERIC:
        return pa.float64()
    if kind is Kind.BOOLEAN:
        return pa.bool_()
    return INSTANT if kind is Kind.DATETIME else pa.string()


def typed(texts: pa.StringArray, column: Column) -> pa.Array:
    """Texts as the column's kind, null where a value is missing or can't be read."""
    if column.kind is Kind.TEXT:
        return texts
    if column.kind.is_string:
        return pc.utf8_trim_whitespace(texts)
    present = without_missing_words(texts)
    if column.kind is Kind.NUMERIC:
        return numbers(present, NumberStyle(column.style))
    return booleans(present) if column.kind is Kind.BOOLEAN else instants(present, column.style or ISO)


def without_missing_words(texts: pa.StringArray) -> pa.StringArray:
    """Trimmed texts; words that stand for "no value" become null."""
    trimmed = pc.utf8_trim_whitespace(texts)
    short = pc.less_equal(pc.binary_length(trimmed), max(map(len, MISSING_WORDS)))
    if not pc.any(short).as_py():
        return trimmed
    words = pc.utf8_lower(pc.if_else(short, trimmed, pa.scalar(None, pa.string())))
    return pc.if_else(pc.is_in(words, pa.array(MISSING_WORDS)), pa.scalar(None, pa.string()), trimmed)


def numbers(texts: pa.StringArray, style: NumberStyle) -> pa.DoubleArray:
    """Finite numbers; null where the text isn't one in this style."""
    if style is NumberStyle.PLAIN and (plain := _plain_numbers(texts)) is not None:
        return plain
    fitting = pc.match_substring_regex(texts, _SPELLINGS[style])
    kept = texts if pc.all(fitting).as_py() else pc.if_else(fitting, texts, pa.scalar(None, pa.string()))
    if style is NumberStyle.THOUSANDS:
        kept = pc.replace_substring(kept, ",", "")
    elif style is NumberStyle.DECIMAL_COMMA:
        kept = pc.replace_substring(pc.replace_substring(kept, ".", ""), ",", ".")
    values = pc.cast(pc.replace_substring_regex(kept, r"^\+", ""), pa.float64())
    finite = pc.is_finite(values)
    return values if pc.all(finite).as_py() else pc.if_else(finite, values, pa.scalar(None, pa.float64()))


def _plain_numbers(texts: pa.StringArray) -> pa.DoubleArray | None:
    """The common case at a fraction of the cost: every text is a number that Arrow reads by itself."""
    try:
        values = pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return None
    return values if pc.all(pc.is_finite(values)).as_py() in (True, None) else None


def booleans(texts: pa.StringArray) -> pa.BooleanArray:
    """True and false from the usual words; null for others."""
    words = pc.utf8_lower(texts)
    yes, no = pc.is_in(words, pa.array(TRUE_WORDS)), pc.is_in(words, pa.array(FALSE_WORDS))
    return pc.if_else(pc.or_(yes, no), yes, pa.scalar(None, pa.bool_()))


def instants(texts: pa.StringArray, style: str) -> pa.TimestampArray:
    """Points in time, UTC where no zone is said; null for other texts and outside of the years 1 to 9,891."""
    if style == ISO:  # pandas would read "-5" as a year
        texts = pc.if_else(pc.match_substring_regex(texts, "^[0-9]{4}"), texts, pa.scalar(None, pa.string()))
    moments = pd.to_datetime(pd.Series(texts.to_pylist(), dtype=object), format=style, errors="coerce", utc=True)
    instants = pa.Array.from_pandas(moments.astype("datetime64[us, UTC]"), type=INSTANT)
    since_1970 = pc.cast(instants, pa.int64())
    known = pc.and_(pc.greater_equal(since_1970, _EARLIEST), pc.less_equal(since_1970, _LATEST))
    return pc.if_else(known, instants, pa.scalar(None, INSTANT))


def as_text(values: pa.Array) -> pa.StringArray:
    """Typed values spelled as `kinds.plain_text` does; strings are returned as they are."""
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_boolean(values.type):
        return pc.cast(values, pa.string())
    if pa.types.is_timestamp(values.type):
        return pc.replace_substring(pc.strftime(values, format="%Y-%m-%dT%H:%M:%SZ"), ".000000Z", "Z")
    return _number_texts(values)


def _number_texts(values: pa.DoubleArray) -> pa.StringArray:
    none = pa.scalar(None, pa.float64())
    size = pc.abs(values)
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(size, 1e15))
    texts = pc.cast(pc.cast(pc.if_else(whole, values, none), pa.int64()), pa.string())
    if texts.null_count == values.null_count:
        return texts
    # In this range Arrow spells a number as Python does: the shortest digits that read back the same, no exponent.
    usual = pc.and_(pc.greater_equal(size, 1e-4), pc.less(size, 1e9))
    texts = pc.coalesce(texts, pc.cast(pc.if_else(usual, values, none), pa.string()))
    if texts.null_count == values.null_count:
        return texts
    return pc.coalesce(texts, pa.array(spelled(pc.if_else(usual, none, values).to_pylist()), pa.string()))


def spelled(values: Iterable[object]) -> list[str | None]:
    """Each value as text."""
    return [plain_text(value) for value in values]
