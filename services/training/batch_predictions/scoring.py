"""Scores a data set version with a bundle, chunk by chunk, in bounded memory and without torch.

A chunk is a run of the version's rows, the same whoever asks and however often it was broken off: so what is finished is
known by its number and is never scored again. Events, as JSON: `{"type": "plan", "rows"}` first, then for each chunk that
is finished `{"type": "chunk", "number", "key", "digest", "rows", "size", "counts", "unread"}`, also for one that an earlier
attempt wrote and nobody heard of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from services.common.bundle import Bundle, Input
from services.common.bundle.values import Column, Columns, read_cell
from services.common.errors import Cancelled
from services.common.frames.kinds import HOLDOUT, ROW, Schema, plain_text
from services.common.frames.label_sets import read_label_set
from services.common.frames.parquet import Manifest, Part, frame_of, read_manifest, read_part, root_of
from services.common.objects.port import ObjectStore
from services.training.batch_predictions import results
from services.training.batch_predictions.rules import Chunk, Rows, check_columns
from services.training.data import column_of

_MOST_CHUNK_ROWS, _LEAST_CHUNK_ROWS = 8_192, 64
_MOST_CHUNK_CELLS = 4_000_000
"""Probabilities that a chunk holds at most: with many classes a chunk has fewer rows."""
_BATCH_ROWS = 512

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringTask:
    """All that decides what comes out. `done`: numbers of the chunks that are known to be finished."""

    bundle_digest: str
    manifest_key: str
    rows: Rows
    label_set_key: str
    root: str
    done: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the worker's task file carries it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ScoringTask:
        """Inverse of `to_json`."""
        return cls(**{**raw, "rows": Rows(raw["rows"]), "done": tuple(raw["done"])})


def score(
    task: ScoringTask, objects: ObjectStore, cache_dir: Path, on_event: OnEvent, cancelled: Callable[[], bool]
) -> list[str]:
    """Finishes every chunk; answers notes for a person. Raises `Cancelled`, `NotFound`, `DigestMismatch`, `InvalidField`."""
    bundle = Bundle.open(objects, task.bundle_digest, cache_dir)
    manifest = read_manifest(objects, task.manifest_key)
    check_columns(bundle.manifest.inputs, manifest.schema.names)
    chosen = _Chosen(task, objects, manifest)
    on_event({"type": "plan", "rows": chosen.count})
    scorer = _Scorer(bundle, manifest.schema, chosen, cancelled)
    size = max(_LEAST_CHUNK_ROWS, min(_MOST_CHUNK_ROWS, _MOST_CHUNK_CELLS // len(bundle.spec.classes)))
    done, number = set(task.done), 0
    for part in manifest.parts:
        numbers = range(number, number + -(-part.rows // size))
        number = numbers.stop
        if done.issuperset(numbers):
            continue
        rows = read_part(objects, root_of(task.manifest_key), part, manifest.schema, scorer.columns, batch_rows=_BATCH_ROWS)
        for chunk, batches in zip(numbers, _cut(rows, size), strict=True):
            if chunk not in done:
                on_event({"type": "chunk", **asdict(_finished(objects, task.root, chunk, batches, scorer))})
    return [f"The data set version has no column '{name}': the model took it as unknown." for name in scorer.missing]


def _finished(objects: ObjectStore, root: str, number: int, batches: list[pa.RecordBatch], scorer: _Scorer) -> Chunk:
    """What an earlier attempt wrote, else the chunk scored now."""
    earlier = results.finished_chunk(objects, root, number)
    return earlier if earlier is not None else results.write_chunk(objects, root, number, scorer.table(batches))


def _cut(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    """Runs of `size` rows, the last one shorter."""
    run, rows = list[pa.RecordBatch](), 0
    for whole in batches:
        rest = whole
        while rest.num_rows:
            head = rest.slice(0, size - rows)
            run.append(head)
            rows += head.num_rows
            rest = rest.slice(head.num_rows)
            if rows == size:
                yield run
                run, rows = [], 0
    if run:
        yield run


class _Scorer:
    """Batches of the version to tables of the result. `missing`: inputs that the version hasn't."""

    def __init__(self, bundle: Bundle, schema: Schema, chosen: _Chosen, cancelled: Callable[[], bool]) -> None:
        self._bundle = bundle
        self._chosen = chosen
        self._cancelled = cancelled
        self._kinds = {column.name: column.kind for column in schema}
        self.columns = [i.name for i in bundle.manifest.inputs if i.name in schema]
        self.missing = [i.name for i in bundle.manifest.inputs if i.name not in schema]

    def table(self, batches: list[pa.RecordBatch]) -> pa.Table:
        """A chunk's. Raises `Cancelled`."""
        classes = len(self._bundle.spec.class_names)
        rows, answers, unread = [np.empty(0, np.int64)], [np.empty((0, classes), np.float32)], Counter[str]()
        for batch in batches:
            if self._cancelled():
                raise Cancelled("The batch prediction was cancelled.")
            chosen = self._chosen.of(batch)
            if chosen.num_rows:
                rows.append(chosen.column(ROW).to_numpy())
                frame = frame_of(pa.Table.from_batches([chosen]))
                answers.append(self._bundle.probabilities(self._read(frame, unread), len(frame)))
        probabilities = np.concatenate(answers)
        return results.table_of(
            self._bundle.spec, np.concatenate(rows), probabilities, self._bundle.decide(probabilities), unread
        )

    def _read(self, frame: pd.DataFrame, unread: Counter[str]) -> Columns:
        return {one.name: self._column(frame, one, unread) for one in self._bundle.manifest.inputs}

    def _column(self, frame: pd.DataFrame, wanted: Input, unread: Counter[str]) -> Column:
        if wanted.name not in frame:
            return _as_column([None] * len(frame), wanted)
        if self._kinds[wanted.name] == wanted.kind:
            return column_of(frame[wanted.name], wanted.kind)
        return _as_column([_cell(cell, wanted, unread) for cell in frame[wanted.name].tolist()], wanted)


def _cell(cell: object, wanted: Input, unread: Counter[str]) -> float | str | None:
    """A cell of a column whose kind was changed since training, read as the model knows the column."""
    try:
        return read_cell(plain_text(cell), wanted)
    except ValueError:
        unread[wanted.name] += 1
        return None


def _as_column(values: list[Any], wanted: Input) -> Column:
    return values if wanted.kind in ("text", "categorical") else np.array(values, dtype=np.float64)


class _Chosen:
    """Which rows of the version are scored."""

    def __init__(self, task: ScoringTask, objects: ObjectStore, manifest: Manifest) -> None:
        self._rows = task.rows
        self._labeled = np.empty(0, dtype=np.int64)
        self.count = manifest.holdout_count if task.rows is Rows.HOLDOUT else manifest.row_count
        if task.rows is Rows.UNLABELED:
            labels = read_label_set(objects, task.label_set_key)
            self._labeled = labels["row"].to_numpy(np.int64)[labels["gold"].to_numpy(bool)]
            self.count -= sum(self._within(part) for part in manifest.parts)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are."""
        if self._rows is Rows.HOLDOUT:
            return batch.filter(batch.column(HOLDOUT))
        if self._rows is Rows.UNLABELED:
            return batch.filter(pa.array(~np.isin(batch.column(ROW).to_numpy(), self._labeled), pa.bool_()))
        return batch

    def _within(self, part: Part) -> int:
        low, high = np.searchsorted(self._labeled, [part.first_row, part.first_row + part.rows])
        return int(high - low)
