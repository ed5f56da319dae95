"""Columns that give the label away: what one column alone predicts, by the simplest classifier there is.

A column such as a rating written after the fact predicts the label nearly perfectly and isn't there when predictions are
made. Each column's values are cut into at most 50 groups, the likeliest class of each group is learned on four fifths of the
gold training rows and tested on the rest, all classes weighing the same. Text columns are left to the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.common.spec import ProblemSpec

SUSPICIOUS = 0.92
MOST_ROWS = 20_000
_GROUPS = 50
_FOLDS = 5
_LEAST_ROWS = 50

Ints = npt.NDArray[np.int64]


def leak_warnings(spec: ProblemSpec, columns: Mapping[str, pd.Series], target: Sequence[object]) -> list[str]:
    """One warning per column that alone reaches a balanced accuracy of `SUSPICIOUS`. Rows are gold training rows."""
    labels = [spec.read_label(cell) for cell in target]
    if spec.multi_label:
        return []
    known = np.array([label is not None for label in labels], dtype=bool)
    classes = np.array([label[0] for label in labels if label], dtype=np.int64)
    if len(classes) < _LEAST_ROWS or len(np.unique(classes)) < 2:
        return []
    warnings = []
    for name, values in columns.items():
        reached = balanced_accuracy(groups(values[known]), classes)
        if reached >= SUSPICIOUS:
            warnings.append(
                f"Column '{name}' alone predicts the label with a balanced accuracy of {reached:.2f} "
                f"(guessing: {1 / len(np.unique(classes)):.2f}). Is it known when a prediction is made? "
                "If not, put it in excluded_columns."
            )
    return warnings


def groups(values: pd.Series) -> Ints:
    """A group per row: the value itself where there are few, else quantiles (numbers, times) or the most frequent values."""
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    ordered = pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype)
    if len(distinct) > _GROUPS and ordered:
        codes = pd.qcut(values.rank(method="first"), _GROUPS, labels=False).fillna(-1).to_numpy()
    elif len(distinct) > _GROUPS:
        frequent = np.argsort(-np.bincount(codes[codes >= 0]))[: _GROUPS - 1]
        codes = np.where(np.isin(codes, frequent) | (codes < 0), codes, len(distinct))
    return np.unique(np.asarray(codes), return_inverse=True)[1].astype(np.int64)


def balanced_accuracy(group: Ints, classes: Ints) -> float:
    """Mean recall of the classes, cross-validated, of answering each group's likeliest class."""
    present, classes = np.unique(classes, return_inverse=True)
    k = len(present)
    fold = np.random.default_rng(0).permutation(len(classes)) % _FOLDS
    right = np.zeros(k)
    for part in range(_FOLDS):
        learn, test = fold != part, fold == part
        table = np.bincount(group[learn] * k + classes[learn], minlength=(group.max() + 1) * k).reshape(-1, k)
        likelihood = table / np.maximum(np.bincount(classes[learn], minlength=k), 1)
        answer = likelihood.argmax(axis=1)[group[test]]
        right += np.bincount(classes[test][answer == classes[test]], minlength=k)
    return float((right / np.bincount(classes, minlength=k)).mean())
