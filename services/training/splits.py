"""Cuts the selection slice out of the training rows: grouped, stratified, and the same for every design.

Which rows it takes hangs on the rows' content alone, never on a run's seed: so runs on one label set are compared on the
same rows, and duplicates of a row are never on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

SHARE = 0.15
MOST_SELECTED = 10_000
FOLDS = 5
FEW = 1_000
"""Below this many rows a slice of 15% is too small to choose on: five folds use every row once."""

_FEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`train` is fitted on, `held` is chosen on."""

    train: Rows
    held: Rows


def cut(targets: npt.NDArray[np.float32], groups: npt.NDArray[np.uint64]) -> list[Split]:
    """One split with a 15% slice, five folds where rows (or those of each class) are few, none where even that is too much."""
    rows = len(targets)
    if rows >= FEW:
        held = _places(targets.argmax(axis=1), groups) < min(SHARE, MOST_SELECTED / rows)
        if held.sum() >= _FEWEST:  # many classes of at most three different rows put next to none into the slice
            return [Split(train=np.flatnonzero(~held), held=np.flatnonzero(held))]
    return folds(targets, groups)


def folds(targets: npt.NDArray[np.float32], groups: npt.NDArray[np.uint64]) -> list[Split]:
    """Five splits in which every row is held once; none below ten different rows."""
    if len(np.unique(groups)) < _FEWEST:
        return []
    fold = np.minimum((_places(targets.argmax(axis=1), groups) * FOLDS).astype(int), FOLDS - 1)
    return [Split(train=np.flatnonzero(fold != f), held=np.flatnonzero(fold == f)) for f in range(FOLDS) if (fold == f).any()]


def _places(classes: npt.NDArray[np.int64], groups: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Each row's place in [0, 1) among its class, in the order of the groups' hash; rows of a group share the first's."""
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    place = np.zeros(len(first))
    group_class = classes[first]
    for c in np.unique(group_class):
        mine = np.flatnonzero(group_class == c)  # np.unique sorts, so these are in the order of the hash
        # Half a step in: a class with 3 groups puts none into a 15% slice; one with 5 puts one into each of 5 folds.
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.asarray(place[member])
