"""What a run learns from: the rows of a data set version joined with a label set, as columns and targets.

Holdout rows come apart and are touched once, for the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.common.bundle.values import Column, Columns, Strings, category_of, text_of
from services.common.errors import FailedPrecondition
from services.common.frames.kinds import HOLDOUT
from services.common.frames.label_sets import read_label_set
from services.common.frames.parquet import load_version, read_manifest
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec

MOST_CLASSES = 2_000
"""Beyond it a probability vector per row no longer fits a run's memory; the spec allows more for labeling alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Labeled rows. `targets` is `(rows, classes)`, probabilities in class order; `groups` is equal for duplicates."""

    rows: npt.NDArray[np.int64]
    columns: Columns
    targets: npt.NDArray[np.float32]
    gold: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.uint64]
    slices: dict[str, Strings]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: npt.NDArray[np.int64]) -> Examples:
        """The rows with these numbers, in this order."""
        return Examples(
            rows=self.rows[chosen],
            columns={name: _pick(values, chosen) for name, values in self.columns.items()},
            targets=self.targets[chosen],
            gold=self.gold[chosen],
            groups=self.groups[chosen],
            slices={name: cast(Strings, _pick(values, chosen)) for name, values in self.slices.items()},
        )


def load(spec: ProblemSpec, objects: ObjectStore, manifest_key: str, label_set_key: str) -> tuple[Examples, Examples]:
    """Training examples and gold holdout rows from the object store. Raises as `join` does, and `NotFound`."""
    version, labels = _read(spec, objects, manifest_key, label_set_key)
    return join(spec, version, labels)


def holdout_of(spec: ProblemSpec, objects: ObjectStore, manifest_key: str, label_set_key: str) -> Examples:
    """The gold holdout rows alone."""
    version, labels = _read(spec, objects, manifest_key, label_set_key)
    held, labels = _held(version, labels)
    return _examples(spec, version, labels[held & labels["gold"]])


def styles(spec: ProblemSpec, objects: ObjectStore, manifest_key: str) -> dict[str, str]:
    """How the source spelled each input column."""
    schema = read_manifest(objects, manifest_key).schema
    return {column.name: schema.column(column.name).style for column in spec.inputs if column.name in schema}


def _read(spec: ProblemSpec, objects: ObjectStore, manifest_key: str, label_set_key: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    schema = read_manifest(objects, manifest_key).schema
    wanted = dict.fromkeys([*(column.name for column in spec.inputs), *spec.slice_columns])
    version = load_version(objects, manifest_key, [name for name in wanted if name in schema])
    return version, read_label_set(objects, label_set_key)


def _held(version: pd.DataFrame, labels: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Which rows are held out, by the label set or by the version: what either holds out is never trained on."""
    labels = labels[labels["row"].isin(version.index)].sort_values("row")
    held = labels["holdout"].astype(bool)
    if HOLDOUT in version:
        held = held | version.loc[labels["row"].to_numpy(), HOLDOUT].to_numpy(bool)
    return held, labels


def join(spec: ProblemSpec, version: pd.DataFrame, labels: pd.DataFrame) -> tuple[Examples, Examples]:
    """Training examples, and the gold holdout rows. Raises `FailedPrecondition` where nothing can be learned."""
    missing = [column.name for column in spec.inputs if column.name not in version.columns]
    if missing:
        raise FailedPrecondition(
            f"The data set version has no column '{missing[0]}' that the spec reads. Make a spec for this version.",
            reason="COLUMN_MISSING",
        )
    if len(spec.classes) > MOST_CLASSES:
        raise FailedPrecondition(
            f"Training takes {MOST_CLASSES:,} classes at most, the spec has {len(spec.classes):,}. Merge some in a new spec.",
            reason="TOO_MANY_CLASSES",
        )
    held, labels = _held(version, labels)
    training = _examples(spec, version, labels[~held])
    _check(spec, training)
    return training, _examples(spec, version, labels[held & labels["gold"]])


def thin(examples: Examples, most: int) -> Examples:
    """At most this many examples: all gold ones first, then those of the lowest hash, so that runs agree on them."""
    if len(examples) <= most:
        return examples
    order = np.lexsort((examples.rows, examples.groups, ~examples.gold))
    return examples.take(np.sort(order[:most]))


def class_weights(spec: ProblemSpec, targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """`(classes,)`: the spec's, or the inverse of each class's share (mean 1 over rows), or ones."""
    if spec.class_weights:
        return np.asarray(spec.class_weights, dtype=np.float64)
    if not spec.balance_classes:
        return np.ones(len(spec.classes))
    mass = targets.sum(axis=0, dtype=np.float64)
    present = mass > 0
    return np.where(present, mass.sum() / (present.sum() * np.maximum(mass, 1e-9)), 1.0)


def row_weights(spec: ProblemSpec, examples: Examples, gold_weight: float) -> npt.NDArray[np.float64]:
    """`(rows,)`: what gold counts beside votes, times the expected weight of the row's class (or the mean of its classes)."""
    weights = class_weights(spec, examples.targets)
    mixed = examples.targets @ weights
    if spec.multi_label:
        mixed = np.where(examples.targets.sum(axis=1) > 0, mixed / np.maximum(examples.targets.sum(axis=1), 1e-9), 1.0)
    return np.asarray(np.where(examples.gold, gold_weight, 1.0) * mixed, dtype=np.float64)


def _examples(spec: ProblemSpec, version: pd.DataFrame, labels: pd.DataFrame) -> Examples:
    frame = version.loc[labels["row"].to_numpy()]
    columns = {column.name: column_of(frame[column.name], column.kind) for column in spec.inputs}
    probabilities = labels["probabilities"].tolist()
    targets = np.stack(probabilities).astype(np.float32) if probabilities else np.zeros((0, len(spec.classes)), np.float32)
    if targets.shape[1] != len(spec.classes):
        raise FailedPrecondition(
            f"The label set has {targets.shape[1]} classes, the spec {len(spec.classes)}. Aggregate one for this spec.",
            reason="LABEL_SET_OF_ANOTHER_SPEC",
        )
    return Examples(
        rows=labels["row"].to_numpy(np.int64),
        columns=columns,
        targets=targets,
        gold=labels["gold"].to_numpy(bool),
        groups=_groups(columns, len(labels)),
        slices={name: column_of(frame[name], "categorical") for name in spec.slice_columns if name in frame},  # type: ignore[misc]
    )


def column_of(series: pd.Series, kind: str) -> Column:
    """A column as featurizers take it, with the same spelling rules as serving."""
    if kind in ("text", "categorical"):
        read: Callable[[object], str | None] = text_of if kind == "text" else category_of
        return [None if pd.isna(cell) else read(cell) for cell in series.tolist()]
    if kind == "datetime":
        moments = pd.to_datetime(series, utc=True)
        seconds = moments.astype("datetime64[us, UTC]").astype("int64").to_numpy(np.float64) / 1e6
        return np.where(moments.isna().to_numpy(), np.nan, seconds)
    return np.asarray(series.astype("Float64").to_numpy(np.float64, na_value=np.nan))


def _groups(columns: Columns, rows: int) -> npt.NDArray[np.uint64]:
    """A hash of each row's content: text without case and spacing, other values as they are."""
    hashes = np.zeros(rows, dtype=np.uint64)
    values = [column if isinstance(column, list) else column.tolist() for column in columns.values()]
    for i, cells in enumerate(zip(*values, strict=True)):
        content = "\x1f".join(" ".join(c.lower().split()) if isinstance(c, str) else repr(c) for c in cells)
        hashes[i] = int.from_bytes(hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return hashes


def _check(spec: ProblemSpec, training: Examples) -> None:
    if len(training) < 2:
        raise FailedPrecondition(
            f"The label set has {len(training)} training rows, and a model needs at least 2, better 20. Label more rows.",
            reason="TOO_FEW_LABELS",
        )
    present = (training.targets.argmax(axis=1)[:, None] == np.arange(len(spec.classes))).any(axis=0)
    if not spec.multi_label and present.sum() < 2:
        only = spec.class_names[int(present.argmax())]
        raise FailedPrecondition(
            f"Every training row is labeled '{only}', and a model needs two classes. Label rows of another class.",
            reason="ONE_CLASS",
        )


def _pick(values: Column, chosen: npt.NDArray[np.int64]) -> Column:
    return [values[i] for i in chosen] if isinstance(values, list) else values[chosen]
