"""A user's Parquet file as batches of strings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.common.errors import UnreadableFile
from services.common.frames.batches import (
    BATCH_CHARACTERS,
    BATCH_ROWS,
    Notes,
    batch_of_rows,
    blank_to_null,
    text_array,
    unique_names,
)
from services.common.frames.json_lines import cell_text


def read_parquet_file(path: Path, notes: Notes) -> Iterator[pa.RecordBatch]:
    """Every value as text: times as ISO 8601, lists and structs as JSON. Raises `UnreadableFile` for a damaged file."""
    try:
        # A small buffer makes the reader stream its column chunks instead of holding a whole row group.
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        names = unique_names(file.schema_arrow.names, notes)
        if not names:
            raise UnreadableFile("the Parquet file has no columns.")
        for batch in file.iter_batches(batch_size=_rows_per_batch(file.metadata), use_threads=False):
            yield pa.RecordBatch.from_arrays([_as_text(column) for column in batch.columns], names=names)
        if file.metadata.num_rows == 0:
            yield batch_of_rows(names, [])
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile("the Parquet file is damaged or uses a feature that can't be read. Write it again.") from error


def _rows_per_batch(metadata: pq.FileMetaData) -> int:
    """Fewer rows a batch where rows are large, by the sizes that the file states."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return int(max(1, min(BATCH_ROWS, BATCH_CHARACTERS * max(metadata.num_rows, 1) // max(size, 1))))


_PLAINLY_SPELLED = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_decimal,
)


def _as_text(column: pa.Array) -> pa.StringArray:
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    kind = column.type
    if any(of_kind(kind) for of_kind in _PLAINLY_SPELLED):
        texts = column.cast(pa.string())
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        texts = _instants(column)
    elif pa.types.is_float32(kind) or pa.types.is_float16(kind):
        # By way of text, which has the digits that were meant: as float64, a float32 of 0.1 is 0.10000000149.
        texts = text_array([None if text is None else cell_text(float(text)) for text in column.cast(pa.string()).to_pylist()])
    else:
        texts = text_array([_odd_cell(value) for value in column.to_pylist()])
    return blank_to_null(texts)


def _instants(column: pa.Array) -> pa.StringArray:
    zone = getattr(column.type, "tz", None)
    # Digits below a microsecond may go; a time beyond what 64 bits hold is refused.
    options = pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True)
    utc = pc.cast(column, options=options).cast(pa.timestamp("us", "UTC"))
    return pc.strftime(utc, format="%Y-%m-%dT%H:%M:%SZ")


def _odd_cell(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return cell_text(value) if value is None or isinstance(value, float | list | dict) else str(value)
