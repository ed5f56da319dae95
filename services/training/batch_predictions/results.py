"""The result of a batch prediction: one Parquet object a chunk, and a manifest that names them in order.

Key `{project}/_batch_predictions/{id}/{number}.parquet` in the bucket of data sets (no data set has an id with `_`). Columns:
`row` int64, `predicted` string (null: an abstention; several classes joined by the spec's separator), and
`probability_<class>` float32 each. An object is written whole or not at all, so one that is there is a finished chunk.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.common.errors import NotFound
from services.common.frames.export import harmless, parquet_file, sized
from services.common.objects.port import DATASETS, ObjectStore
from services.common.spec import ProblemSpec
from services.training.batch_predictions.rules import Chunk

_ABOUT = b"regrow"
_CSV_ROWS = 4096


def root_of(name: str) -> str:
    """Where a batch prediction's objects lie."""
    _, project, _, batch = name.split("/")
    return f"{project}/_batch_predictions/{batch}"


def key_of(root: str, number: int) -> str:
    """The key of a chunk."""
    return f"{root}/{number:08d}.parquet"


def manifest_key(root: str) -> str:
    """The key of the object that names the chunks of a finished result."""
    return f"{root}/manifest.json"


def table_of(
    spec: ProblemSpec,
    rows: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    classes: Sequence[Sequence[str]],
    unread: Counter[str],
) -> pa.Table:
    """A chunk, with what is counted of it in the schema's metadata."""
    counts = Counter(name for chosen in classes for name in (chosen or [""]))
    predicted = pa.array([spec.label_separator.join(chosen) if chosen else None for chosen in classes], pa.string())
    arrays = [pa.array(rows), predicted, *(pa.array(probabilities[:, i]) for i in range(len(spec.class_names)))]
    about = json.dumps({"counts": counts, "unread": unread}).encode()
    return pa.Table.from_arrays(arrays, schema=_schema(spec).with_metadata({_ABOUT: about}))


def write_chunk(objects: ObjectStore, root: str, number: int, table: pa.Table) -> Chunk:
    """Stores it under its number; repeating it writes the same again."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    stored = objects.put(DATASETS, key_of(root, number), sink.getvalue())
    about = json.loads(table.schema.metadata[_ABOUT])
    return Chunk(number=number, key=stored.key, digest=stored.digest, rows=len(table), size=stored.size, **about)


def finished_chunk(objects: ObjectStore, root: str, number: int) -> Chunk | None:
    """What an earlier attempt wrote; None where it didn't."""
    try:
        stored = objects.stat(DATASETS, key_of(root, number))
    except NotFound:
        return None
    with objects.open(DATASETS, stored.key) as source:
        file = pq.ParquetFile(source)
        about = json.loads(file.schema_arrow.metadata[_ABOUT])
        return Chunk(
            number=number, key=stored.key, digest=stored.digest, rows=file.metadata.num_rows, size=stored.size, **about
        )


def write_manifest(objects: ObjectStore, root: str, chunks: Iterable[Chunk]) -> str:
    """Names the chunks in order for whoever reads the object store; answers its key."""
    parts = [{"key": one.key, "digest": one.digest, "rows": one.rows, "size": one.size} for one in chunks]
    return objects.put(DATASETS, manifest_key(root), json.dumps({"parts": parts}).encode()).key


def read_chunks(objects: ObjectStore, keys: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """The rows in order, one chunk in memory at a time. Raises `DigestMismatch`, `NotFound`."""
    for key in keys:
        yield from pq.read_table(pa.BufferReader(objects.get(DATASETS, key))).to_batches()


def as_parquet(spec: ProblemSpec, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One Parquet file."""
    schema = _schema(spec)
    return sized(parquet_file((batch.replace_schema_metadata(None) for batch in batches), schema))


def as_csv(spec: ProblemSpec, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One CSV file with a header; a class that a spreadsheet would run as a formula gets an apostrophe in front."""
    return sized(_csv(_schema(spec), batches))


def _csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(harmless(pa.array(schema.names, pa.string())).to_pylist())
    yield text.getvalue().encode()
    for batch in batches:
        for start in range(0, batch.num_rows, _CSV_ROWS):
            text.seek(0)
            text.truncate()
            part = batch.slice(start, _CSV_ROWS)
            shares = [column.cast(pa.string()).to_pylist() for column in part.columns[2:]]
            predicted = [name or "" for name in harmless(part.column(1)).to_pylist()]
            writer.writerows(zip(part.column(0).to_pylist(), predicted, *shares, strict=True))
            yield text.getvalue().encode()


def _schema(spec: ProblemSpec) -> pa.Schema:
    shares = [pa.field(f"probability_{name}", pa.float32(), nullable=False) for name in spec.class_names]
    return pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("predicted", pa.string()), *shares])
