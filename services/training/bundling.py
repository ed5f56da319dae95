"""Makes a bundle of a trained model, and lets it out only when it answers what the model answers.

The check reads real rows the way a user sends them, so it covers the reading of values, the features, the graph and the
decision at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from services.common.bundle.encoder import Encoder
from services.common.bundle.features import Reader
from services.common.bundle.manifest import GRAPH, REPORT, WEIGHTS, Manifest, Part, ReaderEntry
from services.common.bundle.parts import digest_of, write_bundle
from services.common.bundle.runtime import Bundle
from services.common.bundle.table import Table
from services.common.bundle.terms import Terms
from services.common.bundle.values import Columns, Input
from services.common.errors import FailedPrecondition
from services.common.objects.port import ObjectStore
from services.training.learning import Model
from services.training.representations.transformer import Exported

MOST_DIFFERENCE = 1e-4
VERIFIED_ROWS = 128

Parts = dict[str, bytes | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A bundle that isn't stored yet: its manifest, and its parts as bytes or as files that are already there."""

    manifest: Manifest
    parts: Parts


def draft(model: Model, readers: Sequence[Reader], encoder: Exported | None, manifest: Manifest) -> Draft:
    """Graph, weights and fitted readers as parts; `manifest` brings the rest."""
    parts: Parts = {GRAPH: model.graph(), WEIGHTS: save(model.tensors())}
    entries = []
    for reader in readers:
        entry, own = _entry(reader, encoder)
        entries.append(entry)
        parts |= own
    return Draft(manifest=replace(manifest, readers=tuple(entries), heads=model.heads), parts=parts)


def _entry(reader: Reader, exported: Exported | None) -> tuple[ReaderEntry, Parts]:
    source = reader.source
    if exported is not None and isinstance(source, Encoder):
        names = (exported.graph.name, exported.tokenizer.name)
        entry = ReaderEntry(
            modality=reader.modality, kind="vectors", columns=reader.columns, parts=names, longest=exported.longest
        )
        return entry, {names[0]: exported.files[0], names[1]: exported.files[1]}
    assert not isinstance(source, Encoder)
    kind = "table" if isinstance(source, Table) else "terms" if isinstance(source, Terms) else "tokens"
    name = f"{kind}.json"
    return ReaderEntry(modality=reader.modality, kind=kind, columns=reader.columns, parts=(name,)), {name: source.to_json()}


def verify(made: Draft, columns: Columns, rows: int, expected: np.ndarray, work_dir: Path) -> Draft:
    """The draft with the largest difference recorded. Raises `FailedPrecondition` where it is more than 0.0001."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        files = {name: _as_file(Path(folder) / name, content) for name, content in made.parts.items()}
        parts = tuple(Part(name=n, digest=digest_of(f), size=f.stat().st_size) for n, f in files.items())
        bundle = Bundle(replace(made.manifest, parts=parts), files, "")
        answered = bundle.predict(json_rows(columns, made.manifest.inputs, rows)).probabilities
    difference = float(np.abs(answered - expected).max(initial=0.0))
    if not difference <= MOST_DIFFERENCE:
        raise FailedPrecondition(
            f"The bundle's probabilities differ from the trained model's by {difference:.2g} on {rows} rows, more than "
            f"{MOST_DIFFERENCE:g}. It was not registered; please report it with the design.",
            reason="BUNDLE_DIFFERS",
        )
    return replace(made, manifest=replace(made.manifest, verified={"rows": rows, "largest_difference": difference}))


def store(made: Draft, report: bytes, objects: ObjectStore) -> str:
    """Writes the bundle with its report and answers its digest."""
    return write_bundle(objects, {**made.parts, REPORT: report}, made.manifest)


def json_rows(columns: Columns, inputs: Sequence[Input], rows: int) -> list[dict[str, object]]:
    """Rows as a user would send them: null where there is no value, times as ISO 8601."""
    kinds = {column.name: column.kind for column in inputs}
    return [{name: _json_value(columns[name][i], kind) for name, kind in kinds.items()} for i in range(rows)]


def _json_value(value: Any, kind: str) -> object:
    if value is None or value != value:
        return None
    if kind == "datetime":
        return datetime.fromtimestamp(float(value), UTC).isoformat()
    return bool(value) if kind == "boolean" else float(value) if kind == "numeric" else value


def _as_file(path: Path, content: bytes | Path) -> Path:
    if isinstance(content, Path):
        return content
    path.write_bytes(content)
    return path
