"""Any table file as batches of text: CSV, TSV, JSON lines and Parquet, in bounded memory.

Every reader yields Arrow batches whose columns are all strings, null where a cell is missing; what the strings mean is decided
later (`inference`). A file that can't be read raises `UnreadableFile` with its line. One batch is at most 8,192 rows or
about 8 MiB of text, whichever comes first, plus one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from services.common.frames.batches import Notes
from services.common.frames.delimited import read_delimited
from services.common.frames.json_lines import read_json_lines
from services.common.frames.parquet_files import read_parquet_file
from services.common.frames.sniffing import Format, find_delimiter, find_encoding


def read_batches(path: Path, file_format: Format, notes: Notes, *, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Batches of strings. Columns of later JSON lines batches may be more than those of the first.

    `most_bytes` bounds the text of a format that packs it.
    """
    if file_format is Format.PARQUET:
        return read_parquet_file(path, notes, most_bytes=most_bytes)
    encoding = find_encoding(path)
    notes.add(encoding.note)
    if file_format is Format.JSONL:
        return read_json_lines(path, encoding, notes)
    delimiter = "\t" if file_format is Format.TSV else find_delimiter(path, encoding)
    return read_delimited(path, encoding, delimiter, notes)
