"""Rows as sparse vectors for the quick model that picks the next row: hashed words and word pairs, values, scaled numbers.

Good enough to rank rows by doubt after a handful of answers, and fast enough to do so between two clicks: no vocabulary to
keep, no library beyond numpy. The models that users train don't come from here.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from services.common.frames.kinds import Kind, plain_text

BUCKETS = 1 << 13
_MOST_WORDS = 300
"""Words of a text that are read; its start decides most labels, and a 5 MB cell must not hold a person up."""

_WORD = re.compile(r"\w+|[^\w\s]")

Floats = npt.NDArray[np.float32]
Vector = tuple[npt.NDArray[np.int32], Floats]
"""(buckets, values) of one row, length 1 in the Euclidean sense."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Centre and spread of a numeric column, from a sample of rows."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[object]) -> Scale:
        """Of the finite numbers among the values."""
        finite = [float(v) for v in values if isinstance(v, int | float | np.number) and math.isfinite(float(v))]
        if not finite:
            return cls(0.0, 1.0)
        return cls(float(np.mean(finite)), float(np.std(finite)) or 1.0)


def row_vector(row: Mapping[str, object], kinds: Mapping[str, Kind], scales: Mapping[str, Scale]) -> Vector:
    """The vector of one row over the columns in `kinds`; missing values add nothing, ids are never read."""
    total: dict[int, float] = {}
    for column, kind in kinds.items():
        for token, weight in _tokens(column, kind, row.get(column), scales):
            bucket = zlib.crc32(token.encode("utf-8", "surrogatepass")) % BUCKETS
            total[bucket] = total.get(bucket, 0.0) + weight
    buckets = np.fromiter(total.keys(), dtype=np.int32, count=len(total))
    values = np.fromiter(total.values(), dtype=np.float32, count=len(total))
    length = float(np.linalg.norm(values))
    return buckets, values / length if length else values


def dense(vectors: Sequence[Vector]) -> Floats:
    """(rows, BUCKETS) float32."""
    matrix = np.zeros((len(vectors), BUCKETS), dtype=np.float32)
    for row, (buckets, values) in enumerate(vectors):
        matrix[row, buckets] = values
    return matrix


def rarity(matrix: Floats) -> Floats:
    """Inverse document frequency of each bucket, smoothed as if one more row had every word."""
    seen = np.count_nonzero(matrix, axis=0)
    return np.asarray(np.log((1 + len(matrix)) / (1 + seen)) + 1, dtype=np.float32)


def unit_rows(matrix: Floats) -> Floats:
    """Each row at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _tokens(column: str, kind: Kind, value: object, scales: Mapping[str, Scale]) -> list[tuple[str, float]]:
    text = plain_text(value)
    if text is None or kind is Kind.ID:
        return []
    if kind is Kind.TEXT:
        words = _WORD.findall(text[: _MOST_WORDS * 12].lower())[:_MOST_WORDS]
        counts: dict[str, int] = {}
        for token in [*words, *(f"{a} {b}" for a, b in pairwise(words))]:
            counts[token] = counts.get(token, 0) + 1
        return [(f"{column}\0{token}", 1 + math.log(n)) for token, n in counts.items()]
    if kind is Kind.NUMERIC and isinstance(value, int | float | np.number):
        scale = scales.get(column, Scale(0.0, 1.0))
        return [(column, float(np.clip((float(value) - scale.mean) / scale.deviation, -3, 3)))]
    if kind is Kind.DATETIME:
        return [(f"{column}\0{text[:7]}", 1.0)]
    return [(f"{column}\0{text[:200]}", 1.0)]
