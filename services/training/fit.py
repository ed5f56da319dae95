"""From data and labels to a stored, checked bundle with its report: a run without queue, network or database.

`fit` reads everything from the object store, tells what happens through `on_event`, and answers the bundle's digest. The
same task gives the same bundle on the same machine.

Events, as JSON: `{"type": "stage", "stage"}` as each of reading, features, training, measuring, baselines, bundling begins;
`{"type": "epoch", "stage", "epoch", "epochs", "losses": {head: {"training", "selection"}}, "metric", "selection", "best"}`;
at the end `{"type": "report", "report"}`. The report: `metric`, `lower_is_better`, `rows`, `selection` (the leaderboard's
score, and the head that answers), `holdout` (`metrics` as `{"value", "low", "high"}`, `classes`, `confusion`, `slices`,
`calibration`, `heads`), `baselines`, `leaderboard`, `leaks`, `verified`, `notes` (sentences for a person), `curves` (the epoch
events), `seconds` by stage.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from services.common.bundle.decision import Decision
from services.common.bundle.manifest import Manifest
from services.common.errors import Cancelled
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.training import brew, bundling, data, designs, evaluation, splits
from services.training.baselines import baselines
from services.training.calibration import Choice, choose
from services.training.data import Examples
from services.training.designs import Schedule
from services.training.leaks import leaks
from services.training.learning import Learned, Task
from services.training.metrics import truth_of
from services.training.preparation import Prepared, ground, inputs_of, prepare

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """All that decides what comes out. `receipt` is carried into the bundle as it is, beside what `fit` adds itself."""

    schedule: Schedule
    spec: ProblemSpec
    dataset_manifest_key: str
    label_set_key: str
    seed: int = 0
    receipt: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: Path | None = None
    """The only folder that `text=checkpoint` may read; None forbids it."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the worker's task file carries it."""
        return {
            "schedule": designs.to_json(self.schedule),
            "spec": json.loads(self.spec.to_json()),
            "dataset_manifest_key": self.dataset_manifest_key,
            "label_set_key": self.label_set_key,
            "seed": self.seed,
            "receipt": dict(self.receipt),
            "checkpoints": None if self.checkpoints is None else str(self.checkpoints),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> TrainingTask:
        """Inverse of `to_json`."""
        return cls(
            schedule=designs.from_json(raw["schedule"]),
            spec=ProblemSpec.from_json(raw["spec"]),
            dataset_manifest_key=raw["dataset_manifest_key"],
            label_set_key=raw["label_set_key"],
            seed=int(raw.get("seed", 0)),
            receipt=raw.get("receipt", {}),
            checkpoints=Path(raw["checkpoints"]) if raw.get("checkpoints") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The stored bundle's digest, and the report as JSON data."""

    bundle_digest: str
    report: dict[str, Any]


def fit(
    task: TrainingTask, objects: ObjectStore, on_event: OnEvent, cache_dir: Path, cancelled: Callable[[], bool]
) -> FitResult:
    """Trains, chooses, measures, bundles, verifies. Raises leaves of `RegrowError`; `Cancelled` where `cancelled` says so."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    clock = _Clock(on_event, cancelled)
    spec, schedule = task.spec, task.schedule
    with clock.stage("reading"):
        training, holdout = data.load(spec, objects, task.dataset_manifest_key, task.label_set_key)
        training = data.thin(training, schedule.most_rows)
        weights = data.row_weights(spec, training, schedule.gold_weight)
        styles = data.styles(spec, objects, task.dataset_manifest_key)
    with clock.stage("features"):
        prepared = prepare(schedule.design, spec, training, objects, cache_dir, task.checkpoints)
    with clock.stage("training"):
        learned = _learn(task, prepared, training, weights, clock)
        chosen_on = evaluation.selection_rows(learned, training.gold)
        choice = _choose(spec, learned, training, weights, chosen_on)
        whole, prepared = prepared, prepared.without(spec, learned.reads)
    with clock.stage("measuring"):
        logits = learned.model.logits(prepared.read(holdout.columns, len(holdout)), len(holdout))
        report: dict[str, Any] = {
            "metric": str(spec.metric),
            "lower_is_better": spec.metric.lower_is_better,
            "rows": _counts(training, holdout, learned),
            "selection": evaluation.selection_report(spec, learned, choice, training.targets, chosen_on),
            "holdout": evaluation.holdout_report(spec, choice, logits, holdout, learned.model.heads),
        }
    with clock.stage("baselines"):
        measured = baselines(spec, ground(spec, whole, training, holdout, weights)) if len(holdout) else []
        report["baselines"] = evaluation.baseline_report(spec, measured, holdout)
        report["leaderboard"] = evaluation.leaderboard(spec, report)
        kinds = {column.name: column.kind for column in spec.inputs}
        found = leaks(training.columns, kinds, truth_of(training.targets, spec.multi_label), training.groups)
        report["leaks"] = [asdict(leak) for leak in found]
    with clock.stage("bundling"):
        made = _bundle(task, learned, choice, prepared, training, styles, cache_dir)
        report["verified"] = dict(made.manifest.verified)
        told = [leak.sentence for leak in found]
        report["notes"] = [*prepared.notes, *learned.notes, *told, *evaluation.notes_of(spec, report)]
        report["curves"] = clock.curves
        digest = bundling.store(made, _timeless(report), objects)
    report["seconds"] = clock.seconds
    on_event({"type": "report", "report": report})
    return FitResult(bundle_digest=digest, report=report)


def _learn(task: TrainingTask, prepared: Prepared, training: Examples, weights: np.ndarray, clock: _Clock) -> Learned:
    schedule = replace(task.schedule, design=prepared.design)
    found = splits.cut(training.targets, training.groups)
    ready = Task(
        spec=task.spec, schedule=schedule, seed=task.seed, readers=prepared.readers, features=prepared.features,
        targets=training.targets, weights=weights, groups=training.groups, splits=found,
        emit=clock.epoch, cancelled=clock.cancelled,
    )  # fmt: skip
    if prepared.design.linear:
        return brew.learn(ready)
    from services.training import fusion

    return fusion.learn(ready)


def _choose(spec: ProblemSpec, learned: Learned, training: Examples, weights: np.ndarray, chosen_on: np.ndarray) -> Choice:
    heads = learned.model.heads
    if not len(chosen_on):
        learned.notes.append(f"{len(training)} training rows are too few to calibrate or compare on. Label at least 10.")
        last = tuple(float(h == len(heads) - 1) for h in range(len(heads)))
        return Choice(head=heads[-1], decision=Decision(weights=last), losses={})
    rows = learned.selected[chosen_on]
    return choose(spec, heads, learned.selection_logits[chosen_on], training.targets[rows], weights[rows])


def _bundle(
    task: TrainingTask,
    learned: Learned,
    choice: Choice,
    prepared: Prepared,
    training: Examples,
    styles: dict[str, str],
    cache_dir: Path,
) -> bundling.Draft:
    """The model as a draft that was checked against itself on rows that it learned from."""
    manifest = Manifest(
        spec=task.spec,
        inputs=inputs_of(task.spec, training.columns, styles, prepared.unused),
        unused=prepared.unused,
        readers=(),
        heads=(),
        decision=choice.decision,
        design=designs.to_json(task.schedule)["design"],
        receipt=_receipt(task, prepared),
    )
    made = bundling.draft(learned.model, prepared.readers, prepared.encoder, manifest)
    some = training.take(np.arange(min(len(training), bundling.VERIFIED_ROWS)))
    logits = learned.model.logits(prepared.read(some.columns, len(some)), len(some))
    expected = choice.decision.probabilities(logits, task.spec.multi_label)
    return bundling.verify(made, some.columns, len(some), expected, cache_dir)


def _counts(training: Examples, holdout: Examples, learned: Learned) -> dict[str, int]:
    gold = int(training.gold.sum())
    return {
        "training": len(training), "gold": gold, "silver": len(training) - gold,
        "selection": len(learned.selected), "holdout": len(holdout),
    }  # fmt: skip


def _receipt(task: TrainingTask, prepared: Prepared) -> dict[str, Any]:
    libraries = ["numpy", "scipy", "onnx", "onnxruntime", "tokenizers"] + ["torch"] * (not prepared.design.linear)
    return {
        **task.receipt,
        "dataset_manifest_key": task.dataset_manifest_key,
        "label_set_key": task.label_set_key,
        "seed": task.seed,
        "schedule": designs.to_json(task.schedule),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in libraries}},
    }


def _timeless(report: dict[str, Any]) -> bytes:
    """The report without what differs from one repetition to the next."""
    curves = [{k: v for k, v in event.items() if k != "seconds"} for event in report["curves"]]
    return json.dumps({**report, "curves": curves}, sort_keys=True, ensure_ascii=False).encode()


class _Clock:
    """Tells stages and epochs as they come, and keeps what the report shows of them."""

    def __init__(self, on_event: OnEvent, cancelled: Callable[[], bool]) -> None:
        self._on_event = on_event
        self.cancelled = cancelled
        self.seconds: dict[str, float] = {}
        self.curves: list[dict[str, Any]] = []

    def epoch(self, event: dict[str, Any]) -> None:
        """An epoch ended."""
        self.curves.append(event)
        self._on_event(event)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; stops before it where the run was cancelled."""
        if self.cancelled():
            raise Cancelled(f"The run was cancelled before {name}.")
        self._on_event({"type": "stage", "stage": name})
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
