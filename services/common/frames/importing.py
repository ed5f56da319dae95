"""A file of unknown make becomes a version in the object store, in memory that doesn't grow with the file.

The file is parsed once, into Arrow batches of strings that lie on disk. On the way every column leaves its evidence; then the
kinds are decided, and a second pass over the batches writes typed Parquet parts and carves the holdout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from services.common.errors import UnreadableFile
from services.common.frames.batches import Notes
from services.common.frames.casting import typed
from services.common.frames.evidence import TableEvidence
from services.common.frames.holdout import HoldoutRule, content_hashes
from services.common.frames.inference import infer_schema, lost_values
from services.common.frames.kinds import Kind, Schema
from services.common.frames.parquet import Manifest, PartsWriter, StoredManifest, write_manifest
from services.common.frames.profile import Profile, profile_of
from services.common.frames.reading import read_batches
from services.common.frames.sketch import Distinct
from services.common.frames.sniffing import Format, find_format, unpack
from services.common.objects.disk import engine_errors
from services.common.objects.port import DATASETS, ObjectStore

DEFAULT_MOST_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller wants of an import; all of it may be left out. `most_bytes` bounds what gzip or Parquet may unpack to."""

    format: Format | None = None
    file_name: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    holdout: HoldoutRule = field(default_factory=HoldoutRule)
    most_bytes: int = DEFAULT_MOST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an import."""

    stored: StoredManifest
    profile: Profile
    notes: tuple[str, ...]


def import_file(objects: ObjectStore, root: str, path: Path, directory: Path, wish: Wish) -> Imported:
    """Imports the file at `path` under `root` (see `parquet`). `directory` is for scratch, and the caller's to delete.

    Raises `UnreadableFile`, `TooLarge`, `InvalidField` about the wish, `EngineUnavailable` where the disk is full.
    Whatever is raised, nothing stays under `root`.
    """
    try:
        return _import(objects, root, path, directory, wish)
    except BaseException:
        discard(objects, root)
        raise


def discard(objects: ObjectStore, root: str) -> None:
    """Deletes all objects under a root."""
    for found in list(objects.list(DATASETS, f"{root}/")):
        objects.delete(DATASETS, found.key)


def _import(objects: ObjectStore, root: str, path: Path, directory: Path, wish: Wish) -> Imported:
    notes = Notes()
    plain = unpack(path, directory, most_bytes=wish.most_bytes)
    file_format = find_format(plain, asked=wish.format, file_name=wish.file_name)
    evidence = TableEvidence(dict(wish.kinds))
    staged = _Staged(directory)
    for batch in read_batches(plain, file_format, notes, most_bytes=wish.most_bytes):
        evidence.add(batch)
        staged.write(batch)
    staged.close()
    if not evidence.rows:
        raise UnreadableFile("the file has a header but no rows. Import a file with at least one row.")
    schema = infer_schema(evidence, wish.kinds)
    wish.holdout.check(schema)
    writer = PartsWriter(objects, root, schema, directory)
    duplicates = _write(staged, schema, wish.holdout, writer)
    manifest = Manifest(
        schema=schema,
        parts=writer.finish(),
        row_count=evidence.rows,
        holdout_count=writer.holdout_count,
        label_columns=wish.holdout.ignored_columns,
    )
    for note in _outcome_notes(evidence, schema, manifest, wish.holdout):
        notes.add(note)
    stored = write_manifest(objects, root, manifest)
    profile = profile_of(evidence, schema, holdout_count=writer.holdout_count, duplicate_rows=duplicates)
    return Imported(stored=stored, profile=profile, notes=tuple(notes.told()))


def _write(staged: _Staged, schema: Schema, rule: HoldoutRule, writer: PartsWriter) -> int:
    """The second pass; returns how many rows repeat another's content."""
    contents, content_columns = Distinct(), rule.content_columns(schema)
    for batch in staged.read():
        missing = pa.nulls(batch.num_rows, pa.string())
        present = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns = [typed(present.get(column.name, missing), column) for column in schema]
        rows = pa.RecordBatch.from_arrays(columns, names=schema.names)
        hashes = content_hashes(rows, content_columns, rule.salt)
        contents.add(hashes)
        writer.write(columns, rule.held_out(rows, hashes))
    return contents.repeats


def _outcome_notes(evidence: TableEvidence, schema: Schema, manifest: Manifest, rule: HoldoutRule) -> Iterator[str]:
    seen = evidence.columns[rule.split_column].frequent.top() if rule.split_column else []
    yield rule.check_outcome(manifest.row_count, manifest.holdout_count, [value for value, _ in seen])
    for column in schema:
        yield lost_values(evidence.columns[column.name], column)


class _Staged:
    """Batches of strings on disk, in order. Where the columns change, a new file begins."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: list[Path] = []
        self._schema: pa.Schema | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        if self._writer is None or batch.schema != self._schema:
            self.close()
            self._schema = batch.schema
            self._paths.append(self._directory / f"staged-{len(self._paths)}.arrows")
            self._writer = pa.ipc.new_stream(str(self._paths[-1]), batch.schema)
        with engine_errors():
            self._writer.write_batch(batch)

    def close(self) -> None:
        if self._writer is not None:
            with engine_errors():
                self._writer.close()
            self._writer = None

    def read(self) -> Iterator[pa.RecordBatch]:
        for path in self._paths:
            # Read, not memory-mapped: mapped pages would count as this process's memory.
            with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as batches:
                yield from batches
            path.unlink()
