"""Terms in a network: a logistic regression reads them, and the network learns from what it says of rows it hasn't seen.

Ten thousand terms on a thousand rows fit anything, so logits of rows that the regression was fitted on look far surer than
they are, and a joint head would trust them too much. Out-of-fold logits (Wolpert 1992, stacked generalisation) are as sure
as those that the served model will see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.bundle.features import Feature
from services.common.bundle.terms import Ragged, Terms
from services.training.calibration import cross_entropy, fit_temperature
from services.training.learning import Task
from services.training.linear import Inputs, Weights, fit_linear, inputs_of, logits_of
from services.training.splits import Split, folds

STRENGTHS = (0.3, 1.5, 8.0, 40.0)
DEFAULT_STRENGTH = 8.0
_ITERATIONS = 100

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """The regression fitted on a split's training rows, and the task's features with logits in the place of terms."""

    weights: Weights
    features: Mapping[str, Feature]


def reads_terms(task: Task) -> bool:
    """Whether the design's text is TF-IDF terms."""
    return isinstance(task.features.get("text"), Ragged)


def choose_strength(task: Task) -> float:
    """The strength of least calibrated loss for the text alone, on the task's splits."""
    if not task.splits:
        return DEFAULT_STRENGTH
    inputs = _inputs(task)
    held = np.concatenate([split.held for split in task.splits])
    losses = []
    for strength in STRENGTHS:
        z = np.concatenate([logits_of(_fit(task, inputs, s.train, strength), inputs.take(s.held)) for s in task.splits])
        temperature = fit_temperature(z, task.targets[held], task.weights[held], task.spec.multi_label)
        losses.append(cross_entropy(z / temperature, task.targets[held], task.weights[held], task.spec.multi_label))
    return STRENGTHS[int(np.argmin(losses))]


def stack(task: Task, split: Split, strength: float) -> Stacked:
    """Out-of-fold logits for the rows to train on, plain ones for the others."""
    inputs = _inputs(task)
    weights = _fit(task, inputs, split.train, strength)
    logits = logits_of(weights, inputs).astype(np.float32)  # (rows, classes)
    for inner in folds(task.targets[split.train], task.groups[split.train]):
        unseen = split.train[inner.held]
        fitted = _fit(task, inputs, split.train[inner.train], strength)
        logits[unseen] = logits_of(fitted, inputs.take(unseen)).astype(np.float32)
    return Stacked(weights=weights, features={**task.features, "text": logits})


def _inputs(task: Task) -> Inputs:
    terms = next(len(r.source.terms) for r in task.readers if isinstance(r.source, Terms))
    return inputs_of({"text": task.features["text"]}, len(task.targets), terms)


def _fit(task: Task, inputs: Inputs, rows: npt.NDArray[np.int64], strength: float) -> Weights:
    task.stop_if_cancelled()
    return fit_linear(
        inputs.take(rows), task.targets[rows], task.weights[rows],
        strength=strength, multi_label=task.spec.multi_label, iterations=_ITERATIONS,
    )  # fmt: skip
