"""A problem in a real store: a CSV imported as it would be, labels written as labeling writes them."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from services.common.bundle import Bundle
from services.common.frames.holdout import HoldoutRule
from services.common.frames.importing import Wish, import_file
from services.common.frames.kinds import Kind
from services.common.frames.label_sets import write_label_set
from services.common.frames.parquet import load_version
from services.common.objects import DirectoryStore
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, check
from services.training.designs import Design, Schedule, template
from services.training.fit import FitResult, TrainingTask, fit


@dataclass(frozen=True)
class Problem:
    objects: DirectoryStore
    spec: ProblemSpec
    manifest_key: str
    label_set_key: str
    version: pd.DataFrame
    cache: Path

    def task(self, design: str | Design = "brew", **schedule: Any) -> TrainingTask:
        chosen = template(design) if isinstance(design, str) else design
        return TrainingTask(
            schedule=Schedule(design=chosen, **schedule),
            spec=self.spec,
            dataset_manifest_key=self.manifest_key,
            label_set_key=self.label_set_key,
        )

    def fit(self, design: str | Design = "brew", events: list[dict[str, Any]] | None = None, **schedule: Any) -> FitResult:
        told = events if events is not None else []
        return fit(self.task(design, **schedule), self.objects, told.append, self.cache, lambda: False)

    def relabeled(self, labels: pd.DataFrame) -> Problem:
        key = write_label_set(self.objects, project="p", dataset="d", frame=labels).key
        return replace(self, label_set_key=key)


def make_problem(folder: Path, frame: pd.DataFrame, target: str, kinds: dict[str, str] | None = None, **spec: Any) -> Problem:
    """Every row with a target is gold."""
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    objects = DirectoryStore(folder / "objects")
    wish = Wish(
        file_name="rows.csv",
        kinds={name: Kind(kind) for name, kind in (kinds or {}).items()},
        holdout=HoldoutRule(ignored_columns=(target,)),
    )
    stored = import_file(objects, "p/d", path, scratch, wish).stored
    version = load_version(objects, stored.key)
    classes = sorted({str(value) for cell in frame[target].dropna() for value in str(cell).split("|") if value})
    inputs = [InputColumn(name=c.name, kind=str(c.kind)) for c in stored.manifest.schema if c.name != target]
    defaults = {
        "classes": tuple(ClassDefinition(name=name) for name in classes),
        "inputs": tuple(i for i in inputs if i.kind != "id"),
        "target_column": target,
    }
    made = check(ProblemSpec(name="projects/p/problemSpecs/s", dataset="projects/p/datasets/d", **(defaults | spec)))
    problem = Problem(objects, made, stored.key, "", version, folder / "cache")
    return problem.relabeled(gold_labels(made, version, target))


@pytest.fixture
def problem_of(tmp_path: Path) -> Callable[..., Problem]:
    """`problem_of(frame, target, kinds={...}, **spec)` in a store of its own."""
    return lambda *arguments, **spec: make_problem(tmp_path, *arguments, **spec)


def gold_labels(spec: ProblemSpec, version: pd.DataFrame, target: str) -> pd.DataFrame:
    rows = []
    for row, held, cell in zip(version.index, version["__holdout"], version[target], strict=True):
        classes = spec.read_label(cell)
        if classes is not None:
            p = np.zeros(len(spec.classes), dtype=np.float32)
            p[list(classes)] = 1.0
            rows.append(label(int(row), p, holdout=bool(held)))
    return pd.DataFrame(rows, columns=list(label(0, np.zeros(1))))


def label(row: int, probabilities: Any, *, holdout: bool = False, gold: bool = True) -> dict[str, Any]:
    return {
        "row": row, "holdout": holdout, "gold": gold, "covered": True, "votes": 1,
        "probabilities": np.asarray(probabilities, dtype=np.float32),
    }  # fmt: skip


@pytest.fixture(scope="session")
def reviews() -> pd.DataFrame:
    """300 reviews whose text and table both tell something of the label, and a column that tells nothing."""
    rng = np.random.default_rng(0)
    good = rng.random(300) < 0.5
    praise, blame = ["lovely", "great fit", "perfect", "soft"], ["awful", "too tight", "returned", "scratchy"]
    texts = [
        " ".join(
            [rng.choice(praise if (g ^ (rng.random() < 0.15)) else blame), "dress", f"size {rng.integers(6, 14)}", "ordered"]
        )
        + f" number {i}"
        for i, g in enumerate(good)
    ]
    return pd.DataFrame(
        {
            "text": texts,
            "age": rng.normal(40, 10, 300).round() + 20 * good,
            "town": rng.choice(["Rome", "Oslo", "Lima"], 300),
            "when": pd.date_range("2024-01-01", periods=300, freq="7h").strftime("%Y-%m-%d %H:%M"),
            "label": np.where(good, "yes", "no"),
        }
    )


REVIEW_KINDS = {"text": "text", "town": "categorical", "when": "datetime"}


@pytest.fixture(scope="session")
def review_problem(tmp_path_factory: pytest.TempPathFactory, reviews: pd.DataFrame) -> Problem:
    """Shared, as imports and label sets are never changed in place."""
    return make_problem(tmp_path_factory.mktemp("reviews"), reviews, "label", REVIEW_KINDS)


@dataclass(frozen=True)
class Brewed:
    result: FitResult
    events: list[dict[str, Any]]
    bundle: Bundle


@pytest.fixture(scope="session")
def brewed(review_problem: Problem) -> Brewed:
    """The reviews' brew, fitted once."""
    events: list[dict[str, Any]] = []
    result = review_problem.fit("brew", events)
    return Brewed(result, events, Bundle.open(review_problem.objects, result.bundle_digest, review_problem.cache))
