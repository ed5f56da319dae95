"""Data set versions in the object store: a manifest that names immutable Parquet parts by digest.

All objects of one data set lie under one root, `{project}/{dataset}/{birth}`; `birth` makes a data set that was deleted and
imported again another one. Under it: `manifests/{sha256}.json` and `parts/{sha256}.parquet`. A part's key in the manifest is
relative to the root, so equal content has an equal digest wherever it lies. A part's rows have consecutive numbers, kept in
`__row`, and pages carry checksums that readers verify.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.common.errors import DigestMismatch
from services.common.frames.casting import type_of
from services.common.frames.kinds import HOLDOUT, ROW, Column, Kind, Schema
from services.common.objects.port import DATASETS, ObjectStore

PART_ROWS = 65_536
PART_BYTES = 32 << 20
READ_ROWS = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One Parquet object: `rows` rows, numbered from `first_row`. `key` is relative to the root."""

    key: str
    digest: str
    rows: int
    first_row: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All there is to know to read a version. `label_columns` are those that the holdout's hash didn't read."""

    schema: Schema
    parts: tuple[Part, ...]
    row_count: int
    holdout_count: int
    label_columns: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the parts."""
        return sum(part.size for part in self.parts)

    @property
    def next_row(self) -> int:
        """The number that the next appended row gets."""
        return max((part.first_row + part.rows for part in self.parts), default=0)

    def to_json(self) -> bytes:
        """As it is stored; equal manifests give equal bytes."""
        columns = [{"name": c.name, "kind": c.kind.value, "because": c.inferred_because, "style": c.style} for c in self.schema]
        parts = [
            {"key": p.key, "digest": p.digest, "rows": p.rows, "first_row": p.first_row, "size": p.size} for p in self.parts
        ]
        content = {
            "schema": columns,
            "parts": parts,
            "row_count": self.row_count,
            "holdout_count": self.holdout_count,
            "label_columns": list(self.label_columns),
        }
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Reads what `to_json` wrote."""
        stored = json.loads(content)
        columns = tuple(
            Column(name=c["name"], kind=Kind(c["kind"]), inferred_because=c.get("because", ""), style=c.get("style", ""))
            for c in stored["schema"]
        )
        return cls(
            schema=Schema(columns),
            parts=tuple(Part(**part) for part in stored["parts"]),
            row_count=stored["row_count"],
            holdout_count=stored["holdout_count"],
            label_columns=tuple(stored["label_columns"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """Where a manifest lies, and its digest (`sha256:<hex>`)."""

    key: str
    digest: str
    manifest: Manifest


def write_manifest(objects: ObjectStore, root: str, manifest: Manifest) -> StoredManifest:
    """Stores a manifest under its digest."""
    content = manifest.to_json()
    digest = hashlib.sha256(content).hexdigest()
    key = f"{root}/manifests/{digest}.json"
    objects.put(DATASETS, key, content)
    return StoredManifest(key=key, digest=f"sha256:{digest}", manifest=manifest)


def read_manifest(objects: ObjectStore, manifest_key: str) -> Manifest:
    """Raises `NotFound`, or `DigestMismatch` where the bytes aren't those that the key names."""
    content = objects.get(DATASETS, manifest_key)
    expected, actual = manifest_key.rsplit("/", 1)[-1].removesuffix(".json"), hashlib.sha256(content).hexdigest()
    if expected != actual:
        raise DigestMismatch(f"The manifest '{manifest_key}'", expected=expected, actual=actual)
    return Manifest.from_json(content)


def root_of(manifest_key: str) -> str:
    """The root under which a manifest's parts lie."""
    return manifest_key.rsplit("/manifests/", 1)[0]


class PartsWriter:
    """Writes typed batches as parts of bounded size, rows numbered from `first_row`. `directory` holds one part at a time."""

    def __init__(self, objects: ObjectStore, root: str, schema: Schema, directory: Path, *, first_row: int = 0) -> None:
        self._objects = objects
        self._root = root
        self._path = directory / "part.parquet"
        self._next_row = first_row
        self._arrow = arrow_schema(schema)
        self._dictionary = [c.name for c in schema if c.kind is Kind.CATEGORICAL]
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._bytes = 0
        self.parts: list[Part] = []
        self.holdout_count = 0

    def write(self, columns: Sequence[pa.Array], held_out: npt.NDArray[np.bool_] | pa.BooleanArray) -> None:
        """Adds rows; `columns` in the order of the schema."""
        count = len(held_out)
        if not count:
            return
        numbers = pa.array(np.arange(self._next_row, self._next_row + count, dtype=np.int64))
        batch = pa.RecordBatch.from_arrays([numbers, pa.array(held_out, pa.bool_()), *columns], schema=self._arrow)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, self._arrow, compression="zstd", use_dictionary=self._dictionary, write_page_checksum=True
            )
        self._writer.write_batch(batch)
        self._next_row += count
        self._rows += count
        self._bytes += batch.nbytes
        self.holdout_count += int(pc.sum(batch.column(HOLDOUT)).as_py())
        if self._rows >= PART_ROWS or self._bytes >= PART_BYTES:
            self._close()

    def finish(self) -> tuple[Part, ...]:
        """Closes the last part and returns all."""
        if self._writer is not None:
            self._close()
        return tuple(self.parts)

    def _close(self) -> None:
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        digest = _sha256(self._path)
        key = f"parts/{digest}.parquet"
        stored = self._objects.put_file(DATASETS, f"{self._root}/{key}", self._path)
        self.parts.append(
            Part(key=key, digest=f"sha256:{digest}", rows=self._rows, first_row=self._next_row - self._rows, size=stored.size)
        )
        self._path.unlink()
        self._rows = self._bytes = 0


def arrow_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema of a part."""
    fields = [pa.field(column.name, type_of(column.kind)) for column in schema]
    return pa.schema([pa.field(ROW, pa.int64(), nullable=False), pa.field(HOLDOUT, pa.bool_(), nullable=False), *fields])


def read_version(
    objects: ObjectStore, manifest_key: str, columns: Sequence[str] | None = None, *, batch_rows: int = READ_ROWS
) -> Iterator[pa.RecordBatch]:
    """A version's rows in order, in batches of at most `batch_rows`: `__row`, `__holdout`, then `columns` (None: all).

    Raises `InvalidField` for a column that the version hasn't, `NotFound` where the version's objects are gone.
    """
    manifest = read_manifest(objects, manifest_key)
    for part in manifest.parts:
        yield from read_part(objects, root_of(manifest_key), part, manifest.schema, columns, batch_rows=batch_rows)


def read_part(
    objects: ObjectStore,
    root: str,
    part: Part,
    schema: Schema,
    columns: Sequence[str] | None = None,
    *,
    batch_rows: int = READ_ROWS,
    row_groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """One part's rows in order; of all row groups or of some."""
    wanted = _wanted(schema, columns)
    with _checked(objects, root, part), objects.open(DATASETS, f"{root}/{part.key}") as source, open_part(source) as file:
        for batch in file.iter_batches(batch_rows, row_groups=row_groups, columns=wanted, use_threads=False):
            yield batch.select(wanted)


@contextmanager
def _checked(objects: ObjectStore, root: str, part: Part) -> Iterator[None]:
    """Says of a part that can't be read whether its bytes are those that were stored."""
    try:
        yield
    except (OSError, pa.ArrowException):
        digest = hashlib.sha256()
        for chunk in objects.read(DATASETS, f"{root}/{part.key}"):
            digest.update(chunk)
        if f"sha256:{digest.hexdigest()}" != part.digest:
            raise DigestMismatch(f"'{root}/{part.key}'", expected=part.digest, actual=f"sha256:{digest.hexdigest()}") from None
        raise


def open_part(source: object) -> pq.ParquetFile:
    """A part's reader; verifies page checksums and streams rather than holding row groups."""
    return pq.ParquetFile(source, buffer_size=1 << 18, pre_buffer=False, page_checksum_verification=True)


def read_rows(
    objects: ObjectStore,
    manifest_key: str,
    row_numbers: Sequence[int],
    columns: Sequence[str] | None = None,
    *,
    most_bytes: int | None = None,
) -> pa.Table:
    """Some rows, in ascending order of number; numbers that the version hasn't are left out. Reads only what holds them.

    Stops early, after some more than `most_bytes`.
    """
    manifest, root = read_manifest(objects, manifest_key), root_of(manifest_key)
    wanted = np.unique(np.asarray(row_numbers, dtype=np.int64))
    found = [arrow_schema(manifest.schema).empty_table().select(_wanted(manifest.schema, columns))]
    size = 0
    for part in manifest.parts:
        low, high = np.searchsorted(wanted, [part.first_row, part.first_row + part.rows])
        if low == high:
            continue
        for table in _rows_of_part(objects, root, part, manifest.schema, columns, wanted[low:high]):
            found.append(table)
            size += table.nbytes
            if most_bytes is not None and size > most_bytes:
                return pa.concat_tables(found)
    return pa.concat_tables(found)


def _wanted(schema: Schema, columns: Sequence[str] | None) -> list[str]:
    return [ROW, HOLDOUT, *(schema.names if columns is None else [schema.column(name).name for name in columns])]


def _rows_of_part(
    objects: ObjectStore, root: str, part: Part, schema: Schema, columns: Sequence[str] | None, wanted: npt.NDArray[np.int64]
) -> Iterator[pa.Table]:
    with _checked(objects, root, part), objects.open(DATASETS, f"{root}/{part.key}") as source, open_part(source) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    ends = part.first_row + np.cumsum(sizes)
    groups = sorted({int(group) for group in np.searchsorted(ends, wanted, side="right")})
    numbers = pa.array(wanted)
    for batch in read_part(objects, root, part, schema, columns, row_groups=groups):
        kept = batch.filter(pc.is_in(batch.column(ROW), numbers))
        if kept.num_rows:
            yield pa.Table.from_batches([kept])


def load_version(objects: ObjectStore, manifest_key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A version in memory: the index holds row numbers, `__holdout` and the columns are as `read_version` gives them.

    Missing text and booleans are None, missing numbers NaN, missing times NaT.
    """
    batches = list(read_version(objects, manifest_key, columns))
    manifest = read_manifest(objects, manifest_key)
    empty = arrow_schema(manifest.schema).empty_table().select(_wanted(manifest.schema, columns))
    table = pa.concat_tables([empty, *(pa.Table.from_batches([batch]) for batch in batches)])
    return frame_of(table)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table with `__row` as a frame like that of `load_version`."""
    index = pd.Index(table.column(ROW).to_numpy(), name=ROW)
    return pd.DataFrame({name: _series(table.column(name), index) for name in table.column_names if name != ROW}, index=index)


def _series(column: pa.ChunkedArray, index: pd.Index) -> pd.Series:
    """Strings and booleans as plain objects, so that a missing one is None."""
    if pa.types.is_string(column.type) or (pa.types.is_boolean(column.type) and column.null_count):
        return pd.Series(column.to_pylist(), index=index, dtype=object)
    return pd.Series(column.to_pandas().array, index=index)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
