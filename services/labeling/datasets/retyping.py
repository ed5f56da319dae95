"""The same rows with other kinds of columns, and the same rows with more rows behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from services.common.errors import FieldProblem, InvalidField, InvalidFields
from services.common.frames.casting import as_text, typed
from services.common.frames.evidence import TableEvidence
from services.common.frames.inference import lost_values, overridden
from services.common.frames.kinds import HOLDOUT, Kind, Schema, listed
from services.common.frames.parquet import (
    PartsWriter,
    StoredManifest,
    read_manifest,
    read_version,
    root_of,
    write_manifest,
)
from services.common.objects.port import ObjectStore
from services.labeling.datasets.rows import columns_of


def retype(
    objects: ObjectStore, manifest_key: str, kinds: Mapping[str, Kind], directory: Path
) -> tuple[StoredManifest, tuple[str, ...]]:
    """Writes the version anew with other kinds; rows keep their numbers and sides. Also answers what a person should know.

    Raises `InvalidField` where a column doesn't exist or none of its values can be read as the new kind.
    """
    manifest = read_manifest(objects, manifest_key)
    evidence = _evidence(objects, manifest_key, manifest.schema, kinds)
    columns = [
        overridden(evidence.columns[name], kind, field=f"columns[{i}].kind") for i, (name, kind) in enumerate(kinds.items())
    ]
    schema = manifest.schema.with_columns(columns)
    writer = PartsWriter(objects, root_of(manifest_key), schema, directory)
    for batch in read_version(objects, manifest_key):
        changed = [
            typed(as_text(batch.column(column.name)), column) if column.name in kinds else batch.column(column.name)
            for column in schema
        ]
        writer.write(changed, batch.column(HOLDOUT))
    stored = write_manifest(objects, root_of(manifest_key), replace(manifest, schema=schema, parts=writer.finish()))
    notes = (lost_values(evidence.columns[column.name], column) for column in columns)
    return stored, tuple(note for note in notes if note)


def _evidence(objects: ObjectStore, manifest_key: str, schema: Schema, kinds: Mapping[str, Kind]) -> TableEvidence:
    unknown = [
        FieldProblem(field=f"columns[{i}].name", problem=f"there is no column '{name}'. There are {listed(schema.names)}.")
        for i, name in enumerate(kinds)
        if name not in schema
    ]
    if unknown:
        raise InvalidFields(unknown)
    evidence = TableEvidence(dict(kinds))
    for batch in read_version(objects, manifest_key, list(kinds)):
        evidence.add(pa.RecordBatch.from_arrays([as_text(batch.column(name)) for name in kinds], names=list(kinds)))
    return evidence


def extend(objects: ObjectStore, manifest_key: str, rows: Sequence[Mapping[str, object]], directory: Path) -> StoredManifest:
    """The version with more rows, none of them held out. Only the new rows are written. Raises `InvalidFields`."""
    if not rows:
        raise InvalidField("rows", "is empty. Send at least one row.")
    manifest, root = read_manifest(objects, manifest_key), root_of(manifest_key)
    writer = PartsWriter(objects, root, manifest.schema, directory, first_row=manifest.next_row)
    writer.write(columns_of(rows, manifest.schema), np.zeros(len(rows), dtype=np.bool_))
    parts = (*manifest.parts, *writer.finish())
    return write_manifest(objects, root, replace(manifest, parts=parts, row_count=manifest.row_count + len(rows)))
