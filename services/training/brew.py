"""`brew`: one logistic regression over TF-IDF terms and the table. From upload to score in seconds, and hard to beat.

The strength of regularisation is chosen on the selection slice along a warm-started path; then all rows are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.bundle.decision import probabilities_of
from services.common.bundle.features import Feature
from services.common.bundle.terms import Terms
from services.training.calibration import cross_entropy, fit_temperature
from services.training.graphs import linear_graph
from services.training.learning import Learned, Logits, Rows, Task
from services.training.linear import Inputs, Weights, fit_linear, inputs_of, logits_of
from services.training.metrics import outcome_of, score
from services.training.splits import Split

Doubles = npt.NDArray[np.float64]

STRENGTHS = (0.3, 1.5, 8.0, 40.0)
DEFAULT_STRENGTH = 8.0
STRONGEST_TABLE = 0.3
"""A row's terms have length 1 in all, a table's columns about 1 each: what suits the terms lets the table overfit."""
_MANY_CLASSES = 20
_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Fitted weights; its one head is `joint`, as it reads both modalities at once."""

    weights: Weights

    @property
    def heads(self) -> tuple[str, ...]:
        """The only head."""
        return ("joint",)

    def logits(self, features: Mapping[str, Feature], rows: int) -> Logits:
        """`(rows, 1, classes)`."""
        known = {m: f for m, f in features.items() if m != "text" or len(self.weights.text)}
        inputs = inputs_of(known, rows, len(self.weights.text))
        return logits_of(self.weights, inputs)[:, None, :].astype(np.float32)

    def graph(self) -> bytes:
        """The ONNX graph, built node by node: no torch."""
        return linear_graph(self.weights)

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights by name."""
        named = {"text": self.weights.text, "table": self.weights.table, "bias": self.weights.bias}
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in named.items() if value.size}


def learn(task: Task) -> Learned:
    """Chooses out of sample how strongly to regularise and whether text earns its place, then fits all rows."""
    whole = _inputs(task)
    path = STRENGTHS if len(task.spec.classes) <= _MANY_CLASSES else STRENGTHS[2:]
    if not task.splits:
        model = LinearModel(_fit(task, whole, task.everything.train, DEFAULT_STRENGTH, None))
        nothing = np.zeros((0, 1, len(task.spec.classes)), dtype=np.float32)
        return Learned(model=model, selected=np.arange(0), selection_logits=nothing)
    held = np.concatenate([split.held for split in task.splits])
    candidates = [one for inputs in _variants(whole) for one in _candidates(task, inputs, path, held)]
    best = min(candidates, key=lambda one: one.loss)
    for number, one in enumerate(candidates, start=1):
        task.emit(_event(task, number, len(candidates), one, held, best=one is best))
    chosen = best.inputs
    model = LinearModel(_fit(task, chosen, task.everything.train, best.strength, best.start))
    notes = [f"Regularisation: C = {best.strength:g} had the least loss of {', '.join(f'{s:g}' for s in path)}."]
    reads = tuple(task.features)
    if chosen is not whole:
        reads = ("table",)
        notes.append("Text was left out: out of sample, the table alone did better than both.")
    logits = best.held[:, None, :].astype(np.float32)
    return Learned(model=model, selected=held, selection_logits=logits, notes=notes, reads=reads)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One strength on one choice of inputs: its held logits, calibrated loss on them, and its mean training loss.

    `start` are the weights that the last split ended with: all rows end near them.
    """

    inputs: Inputs
    strength: float
    start: Weights
    held: Doubles
    loss: float
    training: float


def _variants(whole: Inputs) -> list[Inputs]:
    """Everything, and the table alone where there is text too: thousands of terms that tell nothing cost most."""
    if not whole.terms.shape[1] or not whole.table.shape[1]:
        return [whole]
    return [whole, Inputs(terms=whole.terms[:, :0], table=whole.table)]


def _candidates(task: Task, inputs: Inputs, path: tuple[float, ...], held: Rows) -> list[_Candidate]:
    steps = [_path(task, inputs, split, path) for split in task.splits]
    found = []
    for i, strength in enumerate(path):
        z = np.concatenate([step.held[i] for step in steps])  # (held, classes)
        temperature = fit_temperature(z, task.targets[held], task.weights[held], task.spec.multi_label)
        loss = cross_entropy(z / temperature, task.targets[held], task.weights[held], task.spec.multi_label)
        training = float(np.mean([step.training[i] for step in steps]))
        start = steps[-1].weights[i]
        found.append(_Candidate(inputs=inputs, strength=strength, start=start, held=z, loss=loss, training=training))
    return found


def _inputs(task: Task) -> Inputs:
    terms = next((len(r.source.terms) for r in task.readers if isinstance(r.source, Terms)), 0)
    return inputs_of(dict(task.features), len(task.targets), terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    held: Doubles
    training: list[float]
    weights: list[Weights]


def _path(task: Task, inputs: Inputs, split: Split, path: tuple[float, ...]) -> _Path:
    """Held logits `(strengths, held, classes)` and training losses, each fit starting where the weaker one ended."""
    weights: Weights | None = None
    seen, unseen = inputs.take(split.train), inputs.take(split.held)
    answers, losses, ends = list[Doubles](), list[float](), list[Weights]()
    for strength in path:
        weights = _fit(task, inputs, split.train, strength, weights)
        ends.append(weights)
        answers.append(logits_of(weights, unseen))
        fitted = logits_of(weights, seen)
        losses.append(cross_entropy(fitted, task.targets[split.train], task.weights[split.train], task.spec.multi_label))
    return _Path(held=np.stack(answers), training=losses, weights=ends)


def _event(task: Task, number: int, count: int, one: _Candidate, held: Rows, *, best: bool) -> dict[str, Any]:
    p = probabilities_of(one.held, task.spec.multi_label)
    both = one.inputs.terms.shape[1] and one.inputs.table.shape[1]
    return {
        "type": "epoch",
        "stage": f"C = {one.strength:g}, {'text and table' if both else 'text' if one.inputs.terms.shape[1] else 'table'}",
        "epoch": number,
        "epochs": count,
        "losses": {"joint": {"training": one.training, "selection": one.loss}},
        "metric": str(task.spec.metric),
        "selection": score(task.spec, outcome_of(task.spec, task.targets[held], p, None)),
        "best": best,
    }


def _fit(task: Task, inputs: Inputs, rows: Rows, strength: float, start: Weights | None) -> Weights:
    task.stop_if_cancelled()
    return fit_linear(
        inputs.take(rows), task.targets[rows], task.weights[rows],
        strength=strength, table_strength=min(strength, STRONGEST_TABLE) if inputs.terms.shape[1] else strength,
        multi_label=task.spec.multi_label, start=start, iterations=_ITERATIONS,
    )  # fmt: skip
