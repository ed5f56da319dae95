"""Finds columns that give the label away: alone they tell the classes apart nearly perfectly.

Such a column is often written after the fact (a rating beside a recommendation, a refund beside a complaint): then the
model is brilliant here and useless where the column isn't known yet. Only a person can tell, so it is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.bundle.values import Column, Columns

SUSPICIOUS_AUC = 0.95
_BINS = 20
_MOST_VALUES = 200
_FEWEST_ROWS = 50
_MOST_CLASSES = 50
_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """`auc` is the macro one-against-rest area of the column alone, out of sample."""

    column: str
    auc: float

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        return (
            f"'{self.column}' alone tells the classes apart with AUC {self.auc:.3f}. If it isn't known when a prediction is "
            "needed, exclude it in a new spec: it gives the label away."
        )


def leaks(
    columns: Columns, kinds: Mapping[str, str], truth: npt.NDArray[np.bool_], groups: npt.NDArray[np.uint64]
) -> list[Leak]:
    """Columns whose values alone reach `SUSPICIOUS_AUC`; free text is left out. Nothing is said on fewer than 50 rows."""
    if len(truth) < _FEWEST_ROWS or truth.shape[1] > _MOST_CLASSES:
        return []
    folds = (groups % _FOLDS).astype(int)
    found = []
    for name, values in columns.items():
        if kinds[name] != "text" and (codes := _codes(values)) is not None:
            area = _auc_alone(codes, truth, folds)
            if area >= SUSPICIOUS_AUC:
                found.append(Leak(column=name, auc=area))
    return sorted(found, key=lambda leak: -leak.auc)


def _codes(values: Column) -> npt.NDArray[np.int64] | None:
    """A small whole number per row: a bin of a number, a number of a category; missing is a value of its own."""
    if isinstance(values, list):
        _, codes = np.unique([value or "" for value in values], return_inverse=True)
        return codes if codes.max(initial=0) < min(_MOST_VALUES, len(values) // 5) else None
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return None
    edges = np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))


def _auc_alone(codes: npt.NDArray[np.int64], truth: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]) -> float:
    """Scores each row by its value's class shares in the other folds."""
    size, classes = int(codes.max()) + 1, truth.shape[1]
    scores = np.zeros(truth.shape)
    for fold in range(_FOLDS):
        inside = folds == fold
        prior = truth[~inside].mean(axis=0) if (~inside).any() else np.full(classes, 0.5)
        hits = np.stack(
            [np.bincount(codes[~inside], weights=truth[~inside, c], minlength=size) for c in range(classes)], axis=1
        )
        counts = np.bincount(codes[~inside], minlength=size)[:, None]
        scores[inside] = ((hits + prior) / (counts + 1.0))[codes[inside]]
    areas = [_auc(scores[:, c], truth[:, c]) for c in range(classes)]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else 0.5


def _auc(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float | None:
    """Mann-Whitney's statistic with mid-ranks for ties."""
    positives = int(truth.sum())
    if positives == 0 or positives == len(truth):
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2.0) / (positives * (len(truth) - positives)))
