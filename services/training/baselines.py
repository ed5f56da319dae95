"""What anybody could do on the same labels, scored on the same holdout rows: what doesn't beat it isn't worth serving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.bundle.decision import probabilities_of
from services.common.bundle.features import Feature
from services.common.spec import ProblemSpec
from services.training.linear import Inputs, fit_linear, inputs_of, logits_of

Doubles = npt.NDArray[np.float64]

_PLAIN = 1.0
"""scikit-learn's default strength: nothing is tuned in a baseline."""
_ITERATIONS = 100
_ITERATIONS_OF_MANY_CLASSES = 40
_MANY_CLASSES = 20
_MOST_WORK = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """`name`: `majority_class`, `logistic_regression`, `gold_only`, `text`, `table`. Probabilities are of the holdout rows."""

    name: str
    description: str
    probabilities: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Training and holdout rows as TF-IDF terms and table, whatever the design itself reads."""

    training: dict[str, Feature]
    holdout: dict[str, Feature]
    terms: int
    targets: npt.NDArray[np.float32]
    weights: Doubles
    gold: npt.NDArray[np.bool_]
    holdout_rows: int


def baselines(spec: ProblemSpec, ground: Ground) -> list[Baseline]:
    """The majority class, logistic regressions on all labels, on gold alone, and on each modality alone."""
    found = [_majority(spec, ground)]
    modalities = list(ground.training)
    everything = np.arange(len(ground.targets))
    described = " and ".join({"text": "TF-IDF terms", "table": "the table"}[m] for m in modalities)
    found.append(
        _regression(spec, ground, "logistic_regression", f"Logistic regression on {described}", everything, modalities)
    )
    gold = np.flatnonzero(ground.gold)
    if len(gold) < len(everything) and _learnable(spec, ground.targets[gold]):
        found.append(_regression(spec, ground, "gold_only", f"The same on the {len(gold)} gold rows alone", gold, modalities))
    if len(modalities) > 1 and len(everything) * len(spec.classes) <= _MOST_WORK:
        for modality in modalities:
            words = f"Logistic regression on {'the text' if modality == 'text' else 'the table'} alone"
            found.append(_regression(spec, ground, modality, words, everything, [modality]))
    return found


def _majority(spec: ProblemSpec, ground: Ground) -> Baseline:
    shares = ground.targets.mean(axis=0, dtype=np.float64)
    words = "Every row gets the classes' shares among the training rows" + (
        "" if spec.multi_label else f", so always '{spec.class_names[int(shares.argmax())]}'"
    )
    return Baseline(name="majority_class", description=words, probabilities=np.tile(shares, (ground.holdout_rows, 1)))


def _regression(
    spec: ProblemSpec, ground: Ground, name: str, description: str, rows: npt.NDArray[np.int64], modalities: list[str]
) -> Baseline:
    def inputs(features: dict[str, Feature], count: int) -> Inputs:
        chosen = {m: f for m, f in features.items() if m in modalities}
        return inputs_of(chosen, count, ground.terms if "text" in modalities else 0)

    weights = fit_linear(
        inputs(ground.training, len(ground.targets)).take(rows), ground.targets[rows], ground.weights[rows],
        strength=_PLAIN, multi_label=spec.multi_label, 
        iterations=_ITERATIONS if len(spec.classes) <= _MANY_CLASSES else _ITERATIONS_OF_MANY_CLASSES,
    )  # fmt: skip
    logits = logits_of(weights, inputs(ground.holdout, ground.holdout_rows))
    return Baseline(name=name, description=description, probabilities=probabilities_of(logits, spec.multi_label))


def _learnable(spec: ProblemSpec, targets: npt.NDArray[np.float32]) -> bool:
    return len(targets) >= 2 and (spec.multi_label or len(np.unique(targets.argmax(axis=1))) >= 2)
