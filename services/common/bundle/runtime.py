"""Predicts with a stored bundle: rows as users have them in, calibrated probabilities and decisions out.

Needs numpy, ONNX Runtime and `tokenizers`; no torch. The features are made by the code that made training's.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.bundle.encoder import Encoder, open_session
from services.common.bundle.features import Reader, Source, feed, read_all, slice_columns
from services.common.bundle.manifest import GRAPH, NOT_SERVED, Manifest, ReaderEntry
from services.common.bundle.parts import cached_part, read_verified
from services.common.bundle.table import Table
from services.common.bundle.terms import Terms
from services.common.bundle.tokens import Vocabulary
from services.common.bundle.values import Column, Columns, Warning, read_rows, unknown
from services.common.errors import Cancelled, InvalidField
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec

_BATCH = 64
_OUTPUTS = ["logits"]

GoOn = Callable[[], bool] | None
"""Whether somebody still waits for an answer; None where that is sure."""

_READERS: dict[str, Callable[[bytes], Source]] = {
    "terms": Terms.from_json,
    "tokens": Vocabulary.from_json,
    "table": Table.from_json,
}

_encoders: weakref.WeakValueDictionary[tuple[str, str, int], Encoder] = weakref.WeakValueDictionary()
_encoders_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """One entry per row. `classes` are the decided ones: one name, none for an abstention, any number for multi-label."""

    probabilities: npt.NDArray[np.float32]
    classes: list[list[str]]
    warnings: list[list[Warning]]

    def parted(self, sizes: Sequence[int]) -> list[Predictions]:
        """Those of the first rows, of the rows after them, and so on."""
        parts, start = list[Predictions](), 0
        for size in sizes:
            own = slice(start, start + size)
            told = self.warnings[own]
            parts.append(Predictions(probabilities=self.probabilities[own], classes=self.classes[own], warnings=told))
            start = own.stop
        return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Rows of one caller that were read: columns as featurizers take them, and the warnings of each row."""

    columns: Columns
    warnings: list[list[Warning]]

    def __len__(self) -> int:
        return len(self.warnings)


class Bundle:
    """A model version ready to predict. Safe for use from many threads; bundles that share an encoder share its memory."""

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], digest: str) -> None:
        self.manifest = manifest
        self.digest = digest
        self._readers = [_open_reader(entry, manifest, files) for entry in manifest.readers]
        self.tables = tuple(reader.source for reader in self._readers if isinstance(reader.source, Table))
        self.encoders = tuple(reader.source for reader in self._readers if isinstance(reader.source, Encoder))
        self.input_names = tuple(column.name for column in manifest.inputs)
        self.known = frozenset((*self.input_names, *manifest.unused))
        """Columns that a row may have: those that the model reads, and those that it needn't."""
        self._names = manifest.spec.class_names
        self._session = open_session(str(files[GRAPH]))

    @classmethod
    def open(cls, objects: ObjectStore, digest: str, cache_dir: Path) -> Bundle:
        """Fetches what prediction needs and verifies every digest. Raises `NotFound` or `DigestMismatch`."""
        return cls(*cls.fetch(objects, digest, cache_dir), digest)

    @staticmethod
    def fetch(objects: ObjectStore, digest: str, cache_dir: Path) -> tuple[Manifest, dict[str, Path]]:
        """The manifest, and local files of the parts that prediction needs, by name; every digest verified."""
        manifest = Manifest.from_json(read_verified(objects, digest, "The bundle's manifest"))
        served = [part for part in manifest.parts if part.name not in NOT_SERVED]
        return manifest, {part.name: cached_part(objects, part, cache_dir) for part in served}

    @property
    def spec(self) -> ProblemSpec:
        """What the model predicts and how a probability becomes a decision."""
        return self.manifest.spec

    def predict(self, rows: Sequence[Mapping[str, object]]) -> Predictions:
        """Raises `InvalidField` only for a value that can't be read as its column's kind; the rest is told in warnings."""
        for i, row in enumerate(rows):
            if not isinstance(row, dict | Mapping):
                raise InvalidField(f"rows[{i}]", "is not an object of column names and values.")
        columns, warnings = read_rows(rows, self.manifest.inputs)
        for row, told in zip(rows, warnings, strict=True):
            told += [unknown(name, self.input_names) for name in row if name not in self.known]
        return self.predict_columns(columns, warnings)

    def predict_columns(self, columns: Columns, warnings: list[list[Warning]], go_on: GoOn = None) -> Predictions:
        """The same of what `read_rows` or `read_cells` answered: columns and a list of warnings per row."""
        self._warn(columns, warnings)
        probabilities = self.probabilities(columns, len(warnings), go_on)
        return Predictions(probabilities=probabilities, classes=self.decide(probabilities), warnings=warnings)

    def answer(self, requests: Sequence[Request]) -> list[Predictions]:
        """`predict_columns` for several callers at once: each has the answers that it has alone."""
        columns = {name: _joined([request.columns[name] for request in requests]) for name in self.input_names}
        warnings = [told for request in requests for told in request.warnings]
        self._warn(columns, warnings)
        probabilities = self.probabilities(columns, sum([len(request) for request in requests]))
        whole = Predictions(probabilities=probabilities, classes=self.decide(probabilities), warnings=warnings)
        return whole.parted([len(request) for request in requests])

    def _warn(self, columns: Columns, warnings: list[list[Warning]]) -> None:
        for table in self.tables:
            table.unseen(columns, warnings)
        for reader in self._readers:
            reader.warn_of_length(columns, warnings)

    def decide(self, probabilities: npt.NDArray[np.float32]) -> list[list[str]]:
        """The classes decided for each row of `(rows, classes)` probabilities."""
        decided = self.spec.decide(probabilities, self.manifest.decision.thresholds)
        return [[self._names[c] for c in chosen] for chosen in decided]

    def probabilities(self, columns: Columns, rows: int, go_on: GoOn = None) -> npt.NDArray[np.float32]:
        """`(rows, classes)` calibrated probabilities of rows that are already columns."""
        answered = self.manifest.decision.probabilities(self.logits(columns, rows, go_on), self.spec.multi_label)
        return answered.astype(np.float32)

    def logits(self, columns: Columns, rows: int, go_on: GoOn = None) -> npt.NDArray[np.float32]:
        """`(rows, heads, classes)` raw logits. Asks `go_on` from time to time; raises `Cancelled` where nobody waits."""
        if 0 < rows <= _BATCH:
            return self._run(columns, rows)
        parts = [np.zeros((0, len(self.manifest.heads), len(self._names)), dtype=np.float32)]
        for start in range(0, rows, _BATCH):
            if go_on is not None and not go_on():
                raise Cancelled("Nobody waits for the predictions.")
            stop = min(start + _BATCH, rows)
            parts.append(self._run(slice_columns(columns, start, stop), stop - start))
        return np.concatenate(parts)

    def _run(self, columns: Columns, rows: int) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._session.run(_OUTPUTS, feed(read_all(self._readers, columns, rows)))[0]
        return logits

    def longest(self, column: str) -> int:
        """The most tokens that are read of a text column; 0 where there is no such limit."""
        sources = [reader.source for reader in self._readers if column in reader.columns]
        return max((source.longest for source in sources if isinstance(source, Encoder | Vocabulary)), default=0)

    def describe(self) -> dict[str, Any]:
        """What the model reads and answers, and what it was made from, as JSON."""
        manifest = self.manifest
        return {
            "digest": self.digest,
            "task": str(self.spec.task),
            "metric": str(self.spec.metric),
            "classes": list(self.spec.class_names),
            "inputs": [{"name": column.name, "kind": column.kind} for column in manifest.inputs],
            "unused": list(manifest.unused),
            "design": dict(manifest.design),
            "heads": dict(zip(manifest.heads, manifest.decision.weights, strict=True)),
            "receipt": dict(manifest.receipt),
            "size_bytes": sum(part.size for part in manifest.parts if part.name not in NOT_SERVED),
        }


def _joined(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, list):
        return [cell for part in parts for cell in part]
    return np.concatenate([np.asarray(part) for part in parts])


def _open_reader(entry: ReaderEntry, manifest: Manifest, files: Mapping[str, Path]) -> Reader:
    source: Source
    if entry.kind == "vectors":
        source = _shared_encoder(entry, manifest, files)
    else:
        source = _READERS[entry.kind](files[entry.parts[0]].read_bytes())
    return Reader(modality=entry.modality, columns=entry.columns, source=source)


def _shared_encoder(entry: ReaderEntry, manifest: Manifest, files: Mapping[str, Path]) -> Encoder:
    graph, tokenizer = entry.parts
    key = (manifest.part(graph).digest, manifest.part(tokenizer).digest, entry.longest)
    with _encoders_lock:
        encoder = _encoders.get(key)
        if encoder is None:
            encoder = Encoder(str(files[graph]), files[tokenizer].read_bytes(), entry.longest)
            _encoders[key] = encoder
    return encoder
