"""Chosen on the selection slice: which heads answer, the temperature, and tuned thresholds.

The slice is made of training rows; the holdout is never looked at here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.bundle.decision import Decision, probabilities_of
from services.common.spec import Metric, ProblemSpec
from services.training.metrics import Flags, truth_of

Doubles = npt.NDArray[np.float64]

_COOLEST, _HOTTEST = 0.2, 10.0
_FEW_POSITIVES = 10
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`head`: how predictions are made (`joint`, `text`, `table`, `mean`, `mean of all`); `losses`: what each way scored."""

    head: str
    decision: Decision
    losses: Mapping[str, float]


def choose(
    spec: ProblemSpec,
    heads: Sequence[str],
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    weights: Doubles,
) -> Choice:
    """The way of answering with the least calibrated log loss on the selection rows `(rows, heads, classes)`."""
    fitted = calibrated_ways(spec, heads, logits, targets, weights)
    head = min(fitted, key=lambda name: fitted[name][0])
    decision = fitted[head][1]
    thresholds = fit_thresholds(spec, decision.probabilities(logits, spec.multi_label), targets)
    tuned = Decision(weights=decision.weights, temperature=decision.temperature, thresholds=thresholds)
    return Choice(head=head, decision=tuned, losses={name: loss for name, (loss, _) in fitted.items()})


def calibrated_ways(
    spec: ProblemSpec,
    heads: Sequence[str],
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    weights: Doubles,
) -> dict[str, tuple[float, Decision]]:
    """Every way of answering with its best temperature, and the log loss that it then has."""
    fitted: dict[str, tuple[float, Decision]] = {}
    for name, shares in ways_to_answer(heads).items():
        z = Decision(weights=shares).scores(logits, spec.multi_label)
        temperature = fit_temperature(z, targets, weights, spec.multi_label)
        loss = cross_entropy(z / temperature, targets, weights, spec.multi_label)
        fitted[name] = (loss, Decision(weights=shares, temperature=temperature))
    return fitted


def ways_to_answer(heads: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The joint head, each modality's alone, the mean of the modalities', and the mean of all."""
    count = len(heads)
    ways = {head: tuple(float(other == head) for other in heads) for head in reversed(heads)}
    if count > 1:
        ways["mean"] = tuple((head != "joint") / (count - 1) for head in heads)
        ways["mean of all"] = (1.0 / count,) * count
    return ways


def cross_entropy(logits: Doubles, targets: npt.NDArray[np.float32], weights: Doubles, multi_label: bool) -> float:
    """Weighted mean loss against soft targets; multi-label: the mean over classes."""
    if multi_label:
        rows = (np.logaddexp(0.0, logits) - targets * logits).mean(axis=1)
    else:
        raised = logits - logits.max(axis=1, keepdims=True)
        rows = (targets * (np.log(np.exp(raised).sum(axis=1, keepdims=True)) - raised)).sum(axis=1)
    return float(np.average(rows, weights=weights))


def fit_temperature(logits: Doubles, targets: npt.NDArray[np.float32], weights: Doubles, multi_label: bool) -> float:
    """Golden-section search for the temperature of least loss (Guo et al. 2017), between .2 and 10.

    A standard normal prior on its logarithm, worth one row, keeps a handful of rows from sounding surer than they can be.
    """

    def loss(log_temperature: float) -> float:
        fit = cross_entropy(logits / math.exp(log_temperature), targets, weights, multi_label)
        return fit + 0.5 * log_temperature**2 / len(logits)

    low, high = math.log(_COOLEST), math.log(_HOTTEST)
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    inner, outer = high - ratio * (high - low), low + ratio * (high - low)
    inner_loss, outer_loss = loss(inner), loss(outer)
    while high - low > 5e-3:
        if inner_loss < outer_loss:
            high, outer, outer_loss = outer, inner, inner_loss
            inner = high - ratio * (high - low)
            inner_loss = loss(inner)
        else:
            low, inner, inner_loss = inner, outer, outer_loss
            outer = low + ratio * (high - low)
            outer_loss = loss(outer)
    return math.exp((low + high) / 2.0)


def fit_thresholds(spec: ProblemSpec, probabilities: Doubles, targets: npt.NDArray[np.float32]) -> tuple[float, ...] | None:
    """Thresholds that are best for F-beta (two classes) or for F1 class by class (multi-label); None where none are tuned."""
    truth = truth_of(targets, spec.multi_label)
    if spec.multi_label and spec.metric in (Metric.MACRO_F1, Metric.WEIGHTED_F1, Metric.F_BETA):
        beta = spec.beta if spec.metric is Metric.F_BETA else 1.0
        return tuple(_best_threshold(probabilities[:, c], truth[:, c], beta) for c in range(len(spec.classes)))
    if spec.metric is Metric.F_BETA and len(spec.classes) == 2 and not spec.cost_matrix:
        positive = _best_threshold(probabilities[:, spec.positive_index], truth[:, spec.positive_index], spec.beta)
        return tuple(positive if c == spec.positive_index else 1.0 - positive for c in range(2))
    return None


def _best_threshold(probabilities: Doubles, truth: Flags, beta: float) -> float:
    """The middle of the stretch of thresholds with the best F-beta; .5 where there are too few positives to tell."""
    if truth.sum() < _FEW_POSITIVES:
        return 0.5
    grid = np.linspace(0.02, 0.98, 97)
    decided = probabilities[None, :] >= grid[:, None]  # (thresholds, rows)
    hits = (decided & truth).sum(axis=1)
    f = (1 + beta**2) * hits / (beta**2 * truth.sum() + decided.sum(axis=1))
    return float(grid[f >= f.max() - 1e-9].mean())


def reliability(probabilities: Doubles, truth: Flags, multi_label: bool) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error in ten bins of equal width, and the bins (Naeini et al. 2015)."""
    sure = probabilities.ravel() if multi_label else probabilities.max(axis=1)
    right = truth.ravel() if multi_label else truth[np.arange(len(truth)), probabilities.argmax(axis=1)]
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    filled = [(bins == b) for b in range(_BINS)]
    table = [
        {"confidence": float(sure[inside].mean()), "accuracy": float(right[inside].mean()), "rows": float(inside.sum())}
        for inside in filled
        if inside.any()
    ]
    error = sum(row["rows"] * abs(row["confidence"] - row["accuracy"]) for row in table) / max(len(sure), 1)
    return float(error), table


def uncalibrated(decision: Decision, logits: npt.NDArray[np.float32], multi_label: bool) -> Doubles:
    """What the probabilities would be at temperature 1."""
    return probabilities_of(decision.scores(logits, multi_label), multi_label)
