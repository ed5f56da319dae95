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
from services.common.bundle.values import Columns, Warning, read_rows
from services.common.errors import InvalidField
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec

_BATCH = 64
_OUTPUTS = ["logits"]

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


class Bundle:
    """A model version ready to predict. Safe for use from many threads; bundles that share an encoder share its memory."""

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], digest: str) -> None:
        self.manifest = manifest
        self.digest = digest
        self._readers = [_open_reader(entry, manifest, files) for entry in manifest.readers]
        self._tables = [reader.source for reader in self._readers if isinstance(reader.source, Table)]
        self._names = manifest.spec.class_names
        self._session = open_session(str(files[GRAPH]))

    @classmethod
    def open(cls, objects: ObjectStore, digest: str, cache_dir: Path) -> Bundle:
        """Fetches what prediction needs and verifies every digest. Raises `NotFound` or `DigestMismatch`."""
        manifest = Manifest.from_json(read_verified(objects, digest, "The bundle's manifest"))
        served = [part for part in manifest.parts if part.name not in NOT_SERVED]
        return cls(manifest, {part.name: cached_part(objects, part, cache_dir) for part in served}, digest)

    @property
    def spec(self) -> ProblemSpec:
        """What the model predicts and how a probability becomes a decision."""
        return self.manifest.spec

    def predict(self, rows: Sequence[Mapping[str, object]]) -> Predictions:
        """Raises `InvalidField` only for a value that can't be read as its column's kind; the rest is told in warnings."""
        for i, row in enumerate(rows):
            if not isinstance(row, dict | Mapping):
                raise InvalidField(f"rows[{i}]", "is not an object of column names and values.")
        return self.predict_columns(*read_rows(rows, self.manifest.inputs))

    def predict_columns(self, columns: Columns, warnings: list[list[Warning]]) -> Predictions:
        """The same of what `read_rows` or `read_cells` answered: columns and a list of warnings per row."""
        for table in self._tables:
            table.unseen(columns, warnings)
        probabilities = self.probabilities(columns, len(warnings))
        decided = self.spec.decide(probabilities, self.manifest.decision.thresholds)
        classes = [[self._names[c] for c in chosen] for chosen in decided]
        return Predictions(probabilities=probabilities, classes=classes, warnings=warnings)

    def probabilities(self, columns: Columns, rows: int) -> npt.NDArray[np.float32]:
        """`(rows, classes)` calibrated probabilities of rows that are already columns."""
        answered = self.manifest.decision.probabilities(self.logits(columns, rows), self.spec.multi_label)
        return answered.astype(np.float32)

    def logits(self, columns: Columns, rows: int) -> npt.NDArray[np.float32]:
        """`(rows, heads, classes)` raw logits."""
        if 0 < rows <= _BATCH:
            return self._run(columns, rows)
        parts = [np.zeros((0, len(self.manifest.heads), len(self._names)), dtype=np.float32)]
        for start in range(0, rows, _BATCH):
            stop = min(start + _BATCH, rows)
            parts.append(self._run(slice_columns(columns, start, stop), stop - start))
        return np.concatenate(parts)

    def _run(self, columns: Columns, rows: int) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._session.run(_OUTPUTS, feed(read_all(self._readers, columns, rows)))[0]
        return logits

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
