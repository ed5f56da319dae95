"""Which rows the answers so far leave in doubt: logistic regression fitted in its dual form, then the smallest margins.

With n answers and vectors of 8,192 numbers, the weights W of a ridge-penalised fit are a combination of the answered rows,
W = X'A (the representer theorem), so gradient descent runs on A (n, classes) with the n x n products of the rows alone.
Margin sampling: Scheffer et al. 2001, the row whose two most probable classes are closest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.labeling.annotation.features import BUCKETS, Floats, Vector, dense, rarity, unit_rows

_STEPS = 120
_STRENGTH = 10.0
"""Inverse of the ridge penalty (C of scikit-learn): vectors of length 1 with few answers need little shrinking."""

_BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Doubt:
    """How torn the model is about a row: `margin` 0 is a coin toss; `best` and `second` are class indexes."""

    margin: float
    best: int
    second: int
    best_probability: float
    second_probability: float


class QuickModel:
    """A linear classifier of answered rows. Single-label: softmax. Multi-label: one sigmoid per class."""

    def __init__(self, vectors: Sequence[Vector], targets: Floats, *, multi_label: bool, background: Sequence[Vector]) -> None:
        """`targets` is (answers, classes) of 0 and 1; `background` are unanswered rows, which say what words are rare."""
        self._multi_label = multi_label
        self._rarity = rarity(dense([*vectors[-_BLOCK:], *background[:_BLOCK]]))
        answered = self._vectors(vectors)  # (answers, buckets)
        bias = targets.mean(axis=0).clip(1e-3, 1 - 1e-3)
        odds = bias / (1 - bias) if multi_label else bias
        self._bias: Floats = np.asarray(np.log(odds), dtype=np.float32)
        self._weights: Floats = answered.T @ self._fit(answered, targets)  # (buckets, classes)

    def probabilities(self, vectors: Sequence[Vector]) -> Floats:
        """(rows, classes), in blocks so that memory stays bounded."""
        blocks = [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]
        return np.concatenate([self._squash(self._vectors(block) @ self._weights + self._bias) for block in blocks])

    def doubts(self, vectors: Sequence[Vector]) -> list[Doubt]:
        """One per row."""
        p = self.probabilities(vectors)
        if self._multi_label:
            nearest = np.abs(p - 0.5).argmin(axis=1)
            chosen = p[np.arange(len(p)), nearest]
            pairs = zip(chosen.tolist(), nearest.tolist(), strict=True)
            return [Doubt(abs(2 * share - 1), k, k, share, 1 - share) for share, k in pairs]
        order = np.argsort(p, axis=1)[:, ::-1][:, :2]
        best, second = np.take_along_axis(p, order, axis=1).T
        return [
            Doubt(float(b - s), int(k), int(j), float(b), float(s)) for b, s, (k, j) in zip(best, second, order, strict=True)
        ]

    def _fit(self, answered: Floats, targets: Floats) -> Floats:
        products: Floats = answered @ answered.T  # (answers, answers)
        weight = self._balance(targets)
        penalty = np.float32(1 / _STRENGTH)
        stride = np.float32(1 / (_largest_eigenvalue(products) * float(weight.max()) / 2 + penalty))
        combination: Floats = np.zeros_like(targets)
        momentum: Floats = combination
        for step in range(_STEPS):
            error = (self._squash(products @ momentum + self._bias) - targets) * weight
            following = np.asarray(momentum - stride * (error + penalty * momentum), dtype=np.float32)
            momentum = np.asarray(following + step / (step + 3) * (following - combination), dtype=np.float32)
            combination = following
        return combination

    def _balance(self, targets: Floats) -> Floats:
        """Weight of each answer, so that rare classes are heard: (answers, 1), mean 1; multi-label leaves them alike."""
        if self._multi_label:
            return np.ones((len(targets), 1), dtype=np.float32)
        share = targets.mean(axis=0) * np.count_nonzero(targets.any(axis=0))
        weights = 1 / np.maximum(share[targets.argmax(axis=1)], 1e-3)
        return np.asarray(weights / weights.mean(), dtype=np.float32)[:, None]

    def _vectors(self, vectors: Sequence[Vector]) -> Floats:
        return unit_rows(dense(vectors) * self._rarity)

    def _squash(self, scores: Floats) -> Floats:
        if self._multi_label:
            return np.asarray(1 / (1 + np.exp(-scores.clip(-30, 30))), dtype=np.float32)
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)


def explain(doubt: Doubt, classes: Sequence[str], *, multi_label: bool) -> str:
    """The doubt in words for the person who is about to answer."""
    best = f"{classes[doubt.best]} ({_share(doubt.best_probability)})"
    if multi_label:
        return f"the model is unsure about {best}"
    return f"the model is torn between {best} and {classes[doubt.second]} ({_share(doubt.second_probability)})"


def _share(probability: float) -> str:
    return f"{probability:.2f}".removeprefix("0")


def _largest_eigenvalue(matrix: Floats) -> float:
    """By power iteration from a positive start, with a margin: the products of rows are nearly all positive."""
    vector = np.ones(len(matrix), dtype=np.float32)
    for _ in range(12):
        vector = matrix @ vector
        vector /= np.linalg.norm(vector) or 1.0
    return 1.1 * float(vector @ (matrix @ vector)) + 1e-6


__all__ = ["BUCKETS", "Doubt", "QuickModel", "explain"]
