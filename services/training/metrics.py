"""Metrics with bootstrap intervals, in numpy.

Every metric takes row weights `(draws, rows)` and answers one value per draw, so a point estimate is a draw of ones and a
bootstrap interval is many draws of counts (Efron 1979). Two models measured on the same draws give a paired test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.spec import Metric, ProblemSpec

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DRAWS = 1000
_BLOCK = 2_000_000
_MOST_COUNTS = 4_000_000
_MOST_RANKED = 20
_TINY = 1e-15


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a model answered, beside the truth; all `(rows, classes)`. An abstained row has nothing decided."""

    truth: Flags
    probabilities: Doubles
    decided: Flags

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: npt.NDArray[np.int64] | Flags) -> Outcome:
        """The outcome on some rows."""
        return Outcome(truth=self.truth[rows], probabilities=self.probabilities[rows], decided=self.decided[rows])

    @property
    def right(self) -> Flags:
        """Per row: everything decided as it is."""
        return np.asarray((self.truth == self.decided).all(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def outcome_of(
    spec: ProblemSpec, targets: npt.NDArray[np.float32], probabilities: Doubles, thresholds: tuple[float, ...] | None
) -> Outcome:
    """Truth from targets (the most probable class; multi-label: .5 and more), and the spec's decision."""
    decided = np.zeros(probabilities.shape, dtype=bool)
    for row, chosen in enumerate(spec.decide(probabilities, thresholds)):
        decided[row, chosen] = True
    return Outcome(truth=truth_of(targets, spec.multi_label), probabilities=probabilities, decided=decided)


def truth_of(targets: npt.NDArray[np.float32], multi_label: bool) -> Flags:
    """The classes that hold, `(rows, classes)`."""
    if multi_label:
        return np.asarray(targets >= 0.5)
    truth = np.zeros(targets.shape, dtype=bool)
    truth[np.arange(len(targets)), targets.argmax(axis=1)] = True
    return truth


def score(spec: ProblemSpec, outcome: Outcome, metric: Metric | None = None) -> float:
    """The spec's metric, or another one."""
    wanted = metric or spec.metric
    return float(measure(spec, outcome, np.ones((1, len(outcome))), wanted)[str(wanted)][0])


def intervals(spec: ProblemSpec, outcome: Outcome, draws: int = DRAWS, only: Metric | None = None) -> dict[str, Interval]:
    """Every metric with its interval. The draws depend on the number of rows alone: reports can be repeated."""
    values = measure(spec, outcome, np.ones((1, len(outcome))), only)
    blocks = [measure(spec, outcome, weights, only) for weights in resamples(len(outcome), draws)]
    found = {}
    for name, value in values.items():
        low, high = np.nanquantile(np.concatenate([block[name] for block in blocks]), [0.025, 0.975])
        found[name] = Interval(value=float(value[0]), low=float(low), high=float(high))
    return found


def resamples(rows: int, draws: int = DRAWS) -> Iterator[Doubles]:
    """`(some draws, rows)` counts of a bootstrap, block by block to bound memory; fewer draws for very many rows."""
    left = int(np.clip(_MOST_COUNTS // max(rows, 1), 200, draws))
    random = np.random.default_rng(rows)
    step = max(1, _BLOCK // max(rows, 1))
    while left > 0:
        yield random.multinomial(rows, np.full(rows, 1.0 / rows), size=min(step, left)).astype(np.float64)
        left -= step


def measure(spec: ProblemSpec, outcome: Outcome, weights: Doubles, only: Metric | None = None) -> dict[str, Doubles]:
    """`(draws,)` values by metric name, of rows weighted by `(draws, rows)`; `only` leaves out what takes long beside it."""
    total = weights.sum(axis=1)
    values: dict[str, Doubles] = {"accuracy": weights @ outcome.right / total}
    values |= _f_scores(spec, outcome, weights)
    values["log_loss"] = weights @ _row_losses(spec, outcome) / total
    ranked = [spec.positive_index] if not spec.multi_label else list(range(len(spec.classes)))
    wants_ranks = (only is None and len(ranked) <= _MOST_RANKED) or only is Metric.AVERAGE_PRECISION
    if wants_ranks and (len(spec.classes) == 2 or spec.multi_label or spec.positive_class or only):
        areas = [_areas(outcome.truth[:, c], outcome.probabilities[:, c], weights) for c in ranked]
        values["average_precision"] = np.mean([precision for precision, _ in areas], axis=0)
        values["roc_auc"] = np.mean([auc for _, auc in areas], axis=0)
    if spec.cost_matrix:
        costs = np.einsum("nt,tp,np->n", outcome.truth, np.asarray(spec.cost_matrix), outcome.decided)
        values["expected_cost"] = weights @ costs / np.maximum(weights @ outcome.decided.any(axis=1), _TINY)
    if spec.abstain_below and not spec.multi_label:
        values["answered"] = weights @ outcome.decided.any(axis=1) / total
    return values


def _f_scores(spec: ProblemSpec, outcome: Outcome, weights: Doubles) -> dict[str, Doubles]:
    hit = weights @ (outcome.truth & outcome.decided)  # (draws, classes)
    true, decided = weights @ outcome.truth, weights @ outcome.decided
    f1 = 2.0 * hit / np.maximum(true + decided, _TINY)
    present = (true + decided) > 0
    values = {
        "macro_f1": f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1),
        "weighted_f1": (f1 * true).sum(axis=1) / np.maximum(true.sum(axis=1), _TINY),
    }
    if len(spec.classes) == 2 or spec.positive_class or spec.metric is Metric.F_BETA:
        square, positive = spec.beta**2, spec.positive_index
        bottom = square * true[:, positive] + decided[:, positive]
        values["f_beta"] = (1.0 + square) * hit[:, positive] / np.maximum(bottom, _TINY)
    return values


def _row_losses(spec: ProblemSpec, outcome: Outcome) -> Doubles:
    p = np.clip(outcome.probabilities, _TINY, 1.0 - _TINY)
    if spec.multi_label:
        return np.asarray(-np.where(outcome.truth, np.log(p), np.log1p(-p)).mean(axis=1))
    return np.asarray(-np.log(p[outcome.truth]))


def _areas(truth: Flags, scores: Doubles, weights: Doubles) -> tuple[Doubles, Doubles]:
    """Average precision and ROC AUC per draw; tied scores count as one step."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # last row of each tie
    hits = np.cumsum(weights[:, order] * truth[order], axis=1)[:, ends]  # (draws, steps)
    misses = np.cumsum(weights[:, order] * ~truth[order], axis=1)[:, ends]
    positives, negatives = hits[:, -1], misses[:, -1]
    new_hits = np.diff(hits, axis=1, prepend=0.0)
    precision = (new_hits * hits / np.maximum(hits + misses, _TINY)).sum(axis=1) / np.maximum(positives, _TINY)
    worse = negatives[:, None] - misses + 0.5 * np.diff(misses, axis=1, prepend=0.0)
    auc = (new_hits * worse).sum(axis=1) / np.maximum(positives * negatives, _TINY)
    defined = (positives > 0) & (negatives > 0)
    return np.where(positives > 0, precision, np.nan), np.where(defined, auc, np.nan)


def per_class(spec: ProblemSpec, outcome: Outcome) -> list[dict[str, object]]:
    """Precision, recall, F1 and rows of every class."""
    hit = (outcome.truth & outcome.decided).sum(axis=0)
    true, decided = outcome.truth.sum(axis=0), outcome.decided.sum(axis=0)
    return [
        {
            "name": name,
            "rows": int(true[c]),
            "precision": float(hit[c] / decided[c]) if decided[c] else 0.0,
            "recall": float(hit[c] / true[c]) if true[c] else 0.0,
            "f1": float(2 * hit[c] / (true[c] + decided[c])) if true[c] + decided[c] else 0.0,
        }
        for c, name in enumerate(spec.class_names)
    ]


def confusion(outcome: Outcome) -> npt.NDArray[np.int64]:
    """`(classes, classes + 1)` counts, true by decided, abstentions last. Multi-label: rows of a class that got each class."""
    matrix = outcome.truth.T.astype(np.int64) @ outcome.decided.astype(np.int64)
    abstained = outcome.truth.T.astype(np.int64) @ (~outcome.decided.any(axis=1)).astype(np.int64)
    return np.concatenate([matrix, abstained[:, None]], axis=1)


def as_json(values: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Plain data; None where a metric isn't defined on these rows."""
    return {
        name: {end: x if np.isfinite(x) else None for end, x in (("value", i.value), ("low", i.low), ("high", i.high))}
        for name, i in values.items()
    }
