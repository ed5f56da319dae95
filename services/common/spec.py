"""The rules of a problem spec: what is predicted, how a probability vector becomes a decision, what a cell of the target means.

A `ProblemSpec` here is complete and checked: classes are named, every default is filled in. Labeling makes it (`check`),
training scores with it, the bundle carries it as JSON, and the gateway decides with it. Only numpy is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.errors import FieldProblem, InvalidFields

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]

MOST_CLASSES = 10_000


class Task(StrEnum):
    """What kind of answer a model gives."""

    SINGLE_LABEL = "single_label"
    MULTI_LABEL = "multi_label"


class Metric(StrEnum):
    """How success is measured. `log_loss` and `expected_cost` are better when lower."""

    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    WEIGHTED_F1 = "weighted_f1"
    F_BETA = "f_beta"
    AVERAGE_PRECISION = "average_precision"
    LOG_LOSS = "log_loss"
    EXPECTED_COST = "expected_cost"

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self in (Metric.LOG_LOSS, Metric.EXPECTED_COST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDefinition:
    """One class: its name, and the values of the target column that mean it (empty: the name itself)."""

    name: str
    description: str = ""
    source_values: tuple[str, ...] = ()
    parent: str = ""

    @property
    def values(self) -> tuple[str, ...]:
        """The target values that mean this class."""
        return self.source_values or (self.name,)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputColumn:
    """A column that a model reads. `kind` is a `services.common.frames.kinds.Kind` value (`text`, `numeric`, ...)."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSpec:
    """A complete, immutable spec. `classes` fixes the order of every probability vector."""

    name: str
    dataset: str
    version: int = 1
    supersedes: str = ""
    task: Task = Task.SINGLE_LABEL
    classes: tuple[ClassDefinition, ...]
    target_column: str = ""
    inputs: tuple[InputColumn, ...]
    metric: Metric = Metric.MACRO_F1
    beta: float = 1.0
    positive_class: str = ""
    class_weights: tuple[float, ...] = ()
    balance_classes: bool = False
    cost_matrix: tuple[tuple[float, ...], ...] = ()
    abstain_below: float = 0.0
    slice_columns: tuple[str, ...] = ()
    label_separator: str = "|"
    warnings: tuple[str, ...] = field(default=())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the probabilities."""
        return tuple(c.name for c in self.classes)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have any number of classes."""
        return self.task is Task.MULTI_LABEL

    @property
    def positive_index(self) -> int:
        """Index of the class that F-beta and average precision look at: the last one unless the spec names another."""
        return self.class_names.index(self.positive_class) if self.positive_class else len(self.classes) - 1

    def value_to_class(self) -> dict[str, int]:
        """Target value -> class index. Class names themselves are understood too, unless another class claims the value."""
        mapping = {c.name: i for i, c in enumerate(self.classes)}
        mapping.update({value: i for i, c in enumerate(self.classes) for value in c.values})
        return mapping

    def read_label(self, cell: object) -> tuple[int, ...] | None:
        """Class indexes that a target cell means; None where it is missing or means no class of the spec.

        A multi-label cell is split by `label_separator`; an empty string there means "no class at all".
        """
        text = label_text(cell)
        if text is None:
            return None
        mapping = self.value_to_class()
        if not self.multi_label:
            return (mapping[text],) if text in mapping else None
        parts = [part.strip() for part in text.split(self.label_separator) if part.strip()]
        return tuple(sorted({mapping[part] for part in parts})) if all(part in mapping for part in parts) else None

    def decide(self, probabilities: Floats, thresholds: Sequence[float] | None = None) -> list[list[int]]:
        """Turns probabilities (n, classes) into class indexes per row; an empty list is an abstention (multi-label: no class).

        Multi-label: every class whose probability reaches its threshold (default .5). Single-label: the class of least
        expected cost under the cost matrix (Elkan 2001), else with two classes and a threshold the positive class where it
        reaches it, else the most probable one; nothing where the largest probability is below `abstain_below`.
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if self.multi_label:
            reached = p >= np.asarray(thresholds if thresholds is not None else [0.5] * len(self.classes))
            return [np.flatnonzero(row).tolist() for row in reached]
        if self.cost_matrix:
            chosen = (p @ np.asarray(self.cost_matrix)).argmin(axis=1)
        elif thresholds is not None and len(self.classes) == 2:
            positive = self.positive_index
            chosen = np.where(p[:, positive] >= thresholds[positive], positive, 1 - positive)
        else:
            chosen = p.argmax(axis=1)
        if not self.abstain_below:
            return [[c] for c in chosen.tolist()]
        sure = p.max(axis=1) >= self.abstain_below
        return [[int(c)] if ok else [] for c, ok in zip(chosen, sure, strict=True)]

    def to_json(self) -> str:
        """Canonical JSON (sorted keys), the form that bundles and receipts carry."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> ProblemSpec:
        """Inverse of `to_json`; raises `InvalidFields` where the rules don't hold."""
        raw = dict(json.loads(text) if isinstance(text, str) else text)
        raw["task"], raw["metric"] = Task(raw["task"]), Metric(raw["metric"])
        raw["classes"] = tuple(ClassDefinition(**{**c, "source_values": tuple(c["source_values"])}) for c in raw["classes"])
        raw["inputs"] = tuple(InputColumn(**i) for i in raw["inputs"])
        raw["cost_matrix"] = tuple(tuple(row) for row in raw["cost_matrix"])
        for key in ("class_weights", "slice_columns", "warnings"):
            raw[key] = tuple(raw[key])
        return check(cls(**raw))


def label_text(cell: object) -> str | None:
    """How a label cell is spelled: whole numbers without decimals, booleans as true/false, trimmed; None where missing."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return None
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return text or None


def check(spec: ProblemSpec) -> ProblemSpec:
    """Answers the spec if every rule holds; raises `InvalidFields` naming each field that is wrong."""
    problems = [FieldProblem(field=f, problem=p) for f, p in _problems(spec)]
    if problems:
        raise InvalidFields(problems)
    return spec


def _problems(spec: ProblemSpec) -> list[tuple[str, str]]:
    found = _class_problems(spec)
    k = len(spec.classes)
    if spec.class_weights and len(spec.class_weights) != k:
        found.append(("class_weights", f"has {len(spec.class_weights)} weights for {k} classes: give one per class."))
    if any(not np.isfinite(w) or w <= 0 for w in spec.class_weights):
        found.append(("class_weights", "every weight must be a number above 0."))
    if spec.class_weights and spec.balance_classes:
        found.append(("balance_classes", "excludes class_weights: set one of the two."))
    if spec.cost_matrix and (len(spec.cost_matrix) != k or any(len(row) != k for row in spec.cost_matrix)):
        found.append(("cost_matrix", f"must be {k} rows (true class) of {k} costs (predicted class)."))
    elif any(not np.isfinite(c) or c < 0 for row in spec.cost_matrix for c in row):
        found.append(("cost_matrix", "every cost must be a number of 0 or more."))
    if spec.cost_matrix and spec.multi_label:
        found.append(("cost_matrix", "is for single-label tasks only."))
    if spec.metric is Metric.EXPECTED_COST and not spec.cost_matrix:
        found.append(("metric", "expected_cost needs a cost_matrix."))
    if spec.positive_class and spec.positive_class not in spec.class_names:
        found.append(("positive_class", f"'{spec.positive_class}' is not one of the classes."))
    if not spec.inputs:
        found.append(("input_columns", "no column is left for a model to read: name at least one."))
    if spec.target_column and spec.target_column in {i.name for i in spec.inputs}:
        found.append(("input_columns", f"'{spec.target_column}' is the target: a model that reads it learns nothing."))
    if not (np.isfinite(spec.beta) and spec.beta > 0):
        found.append(("beta", "must be a number above 0."))
    if not 0 <= spec.abstain_below < 1:
        found.append(("abstain_below", "must be at least 0 and below 1."))
    return found


def _class_problems(spec: ProblemSpec) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    names = spec.class_names
    least = 1 if spec.multi_label else 2
    if len(names) < least:
        found.append(("classes", f"{len(names)} class given, at least {least} needed: a model needs something to tell apart."))
    if len(names) > MOST_CLASSES:
        found.append(("classes", f"{len(names):,} classes are more than {MOST_CLASSES:,}. Is the target a free text or an id?"))
    taken: dict[str, str] = {}
    first = {name: i for i, name in reversed(list(enumerate(names)))}
    for i, definition in enumerate(spec.classes):
        if first[definition.name] != i:
            found.append((f"classes[{i}].name", f"'{definition.name}' is named twice."))
            continue
        for value in definition.values:
            if value in taken:
                found.append((f"classes[{i}].source_values", f"'{value}' already belongs to class '{taken[value]}'."))
            taken.setdefault(value, definition.name)
        if definition.parent and (definition.parent not in first or definition.parent == definition.name):
            found.append((f"classes[{i}].parent", f"'{definition.parent}' is not another class of this spec."))
    return found
