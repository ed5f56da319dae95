"""A label set as a file: each labeled row with its label beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from services.common.frames.export import export
from services.common.frames.kinds import ROW, Column, Kind, Schema
from services.common.frames.parquet import read_version
from services.common.frames.sniffing import Format
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets.model import Version

MOST_PROBABILITY_COLUMNS = 50
_LABEL_COLUMNS = (
    ("row", Kind.NUMERIC), ("label", Kind.CATEGORICAL), ("label_probability", Kind.NUMERIC), ("gold", Kind.BOOLEAN),
    ("holdout", Kind.BOOLEAN), ("votes", Kind.NUMERIC),
)  # fmt: skip


def export_label_set(
    objects: ObjectStore, version: Version, spec: ProblemSpec, frame: pd.DataFrame, file_format: Format
) -> Iterator[bytes]:
    """The version's columns, then the label and where it comes from; up to 50 classes, each with its probability too."""
    shown = spec.class_names if len(spec.classes) <= MOST_PROBABILITY_COLUMNS else ()
    taken = set(version.schema.names)
    added = [Column(name=_free(name, taken), kind=kind) for name, kind in _LABEL_COLUMNS]
    added += [Column(name=_free(f"probability_{name}", taken), kind=Kind.NUMERIC) for name in shown]
    schema = Schema((*version.schema.columns, *added))
    return export(_joined(objects, version, spec, frame, [column.name for column in added]), schema, file_format)


def _joined(
    objects: ObjectStore, version: Version, spec: ProblemSpec, frame: pd.DataFrame, added: list[str]
) -> Iterator[pa.RecordBatch]:
    rows = frame["row"].to_numpy()
    for batch in read_version(objects, version.object_key):
        numbers = batch.column(ROW).to_numpy()
        low, high = np.searchsorted(rows, [numbers[0], numbers[-1] + 1]) if len(numbers) else (0, 0)
        mine = frame.iloc[low:high]
        kept = batch.filter(pa.array(np.isin(numbers, rows[low:high]), pa.bool_()))
        labels = _label_arrays(mine, spec, len(added) - len(_LABEL_COLUMNS))
        yield pa.RecordBatch.from_arrays([*kept.columns, *labels], names=[*kept.schema.names, *added])


def _label_arrays(mine: pd.DataFrame, spec: ProblemSpec, shown: int) -> list[pa.Array]:
    probabilities = np.stack(mine["probabilities"].tolist()) if len(mine) else np.empty((0, len(spec.classes)), np.float32)
    if spec.multi_label:
        chosen = [np.flatnonzero(row >= 0.5) for row in probabilities]
        labels = [spec.label_separator.join(spec.class_names[i] for i in row) for row in chosen]
        certain = np.maximum(probabilities, 1 - probabilities).min(axis=1, initial=1.0)
    else:
        labels = [spec.class_names[i] for i in probabilities.argmax(axis=1)]
        certain = probabilities.max(axis=1, initial=0.0)
    return [
        pa.array(mine["row"].to_numpy(dtype=np.float64)), pa.array(labels, pa.string()), pa.array(certain.astype(np.float64)),
        pa.array(mine["gold"].to_numpy(dtype=bool)), pa.array(mine["holdout"].to_numpy(dtype=bool)),
        pa.array(mine["votes"].to_numpy(dtype=np.float64)),
        *(pa.array(probabilities[:, index].astype(np.float64)) for index in range(shown)),
    ]  # fmt: skip


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where the data has it already."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free
