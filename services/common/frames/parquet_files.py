"""A user's Parquet file as batches of strings.

A few KB of Parquet may stand for many GB of text: a value is written once, and each row has its number. So texts are read as
such numbers, and written out only for so many rows at a time as make a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.common.errors import TooLarge, UnreadableFile
from services.common.frames.batches import (
    BATCH_CHARACTERS,
    BATCH_ROWS,
    MOST_LINE_CHARACTERS,
    Notes,
    batch_of_rows,
    blank_to_null,
    text_array,
    unique_names,
)
from services.common.frames.json_lines import cell_text
from services.common.frames.sniffing import readable_size

Sizes = npt.NDArray[np.int64]
_FIXED_BYTES = 8
_NESTED_ROWS = 64
_OF_BYTES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def read_parquet_file(path: Path, notes: Notes, *, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Every value as text: times as ISO 8601, lists and structs as JSON.

    Raises `UnreadableFile` for a damaged file or a cell that is too large, `TooLarge` past `most_bytes` of text.
    """
    try:
        metadata = pq.read_metadata(path)
        # A small buffer makes the reader stream its column chunks instead of holding a whole row group.
        file = pq.ParquetFile(
            path, metadata=metadata, buffer_size=1 << 20, pre_buffer=False, read_dictionary=_numbered_columns(metadata)
        )
        names = unique_names(file.schema_arrow.names, notes)
        if not names:
            raise UnreadableFile("the Parquet file has no columns.")
        read = 0
        for batch in file.iter_batches(batch_size=_rows_per_batch(metadata), use_threads=False):
            sizes = np.sum([_sizes(column) for column in batch.columns], axis=0)
            read = _check_sizes(sizes, read, most_bytes)
            for part in _parts(batch, sizes):
                yield pa.RecordBatch.from_arrays([_as_text(column) for column in part.columns], names=names)
        if file.metadata.num_rows == 0:
            yield batch_of_rows(names, [])
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile("the Parquet file is damaged or uses a feature that can't be read. Write it again.") from error


def _rows_per_batch(metadata: pq.FileMetaData) -> int:
    """Fewer rows a batch where rows are large, by the sizes that the file states."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    names = set(metadata.schema.to_arrow_schema().names)
    nested = any(_is_numbered(one) and one.path_in_schema not in names for one in _columns(metadata))
    most = _NESTED_ROWS if nested else BATCH_ROWS
    return int(max(1, min(most, BATCH_CHARACTERS * max(metadata.num_rows, 1) // max(size, 1))))


def _columns(metadata: pq.FileMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return (group.column(index) for group in groups for index in range(group.num_columns))


def _is_numbered(column: pq.ColumnChunkMetaData) -> bool:
    """Whether its texts or bytes are written once and numbered, at least in some pages."""
    return bool(column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page)


def _numbered_columns(metadata: pq.FileMetaData) -> list[str]:
    """Those outside of lists and structs, within which Arrow can't read numbers where some pages have texts."""
    found = {one.path_in_schema for one in _columns(metadata) if _is_numbered(one)}
    return sorted(path for path in found if path in metadata.schema.to_arrow_schema().names)


def _check_sizes(sizes: Sizes, read: int, most_bytes: int) -> int:
    """How much was read with this batch. Raises `UnreadableFile`, `TooLarge`."""
    if sizes.max(initial=0) > MOST_LINE_CHARACTERS:
        raise UnreadableFile(f"a row holds more than {readable_size(MOST_LINE_CHARACTERS)}. Import rows of a size to read.")
    if (total := read + int(sizes.sum())) > most_bytes:
        raise TooLarge("The file, once unpacked,", limit=readable_size(most_bytes), cure="Import it in parts.")
    return total


def _parts(batch: pa.RecordBatch, sizes: Sizes) -> Iterator[pa.RecordBatch]:
    """The batch in slices of no more text than a batch may have, or of one row."""
    ends = np.cumsum(sizes)
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + BATCH_CHARACTERS, side="right")))
        yield batch.slice(start, end - start)
        start = end


def _sizes(column: pa.Array) -> Sizes:
    """Bytes of text in each row, however they are kept."""
    sizes: Sizes = np.full(len(column), _FIXED_BYTES, np.int64)
    if isinstance(column, pa.DictionaryArray):
        if len(column.dictionary):
            sizes += _sizes(column.dictionary)[_numbers(column.indices)] * _numbers(column.is_valid())
    elif isinstance(column, pa.StructArray):
        for part in column.flatten():
            sizes += _sizes(part)
    elif isinstance(column, pa.MapArray):
        sizes = _sizes(column.cast(pa.list_(pa.struct({"key": column.type.key_type, "value": column.type.item_type}))))
    elif isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        np.add.at(sizes, _numbers(pc.list_parent_indices(column)), _sizes(pc.list_flatten(column)))
    elif any(of_kind(column.type) for of_kind in _OF_BYTES):
        sizes = _numbers(pc.binary_length(column)).astype(np.int64)
    return sizes


def _numbers(column: pa.Array) -> Sizes:
    """Whole numbers or truth values; what is missing is 0."""
    numbers: Sizes = column.fill_null(False if pa.types.is_boolean(column.type) else 0).to_numpy(zero_copy_only=False)
    return numbers


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
