"""A version as a file, streamed: CSV, TSV, JSON lines or Parquet, in bounded memory.

In CSV and TSV a text that a spreadsheet would run as a formula gets an apostrophe in front, which spreadsheets hide (OWASP,
"CSV injection"). JSON lines and Parquet carry every value as it is, and Parquet keeps the kinds' types.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.common.frames.casting import as_text, spelled
from services.common.frames.kinds import HOLDOUT, ROW, Kind, Schema
from services.common.frames.parquet import arrow_schema
from services.common.frames.sniffing import Format

CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.TSV: "text/tab-separated-values; charset=utf-8",
    Format.JSONL: "application/jsonl",
    Format.PARQUET: "application/vnd.apache.parquet",
}
CHUNK_BYTES = 1 << 20

_FORMULA = r"^[=+\-@\t\r]"
_HARMLESS = r"^[+-]?[0-9.,]+([eE][+-]?[0-9]+)?$"


def export(batches: Iterable[pa.RecordBatch], schema: Schema, file_format: Format) -> Iterator[bytes]:
    """The file's bytes in chunks of about 1 MiB. `batches` are those of `parquet.read_version`; row numbers are left out."""
    tables = (batch.drop_columns([ROW, HOLDOUT]) for batch in batches)
    if file_format is Format.PARQUET:
        types = arrow_schema(schema)
        return sized(parquet_file(tables, pa.schema([types.field(name) for name in schema.names])))
    if file_format is Format.JSONL:
        return sized(_json_lines(tables, schema))
    return sized(_delimited(tables, schema, "\t" if file_format is Format.TSV else ","))


def sized(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Joins small pieces and parts large ones, so that every chunk fits in a message."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= CHUNK_BYTES:
            yield bytes(pending[:CHUNK_BYTES])
            del pending[:CHUNK_BYTES]
    if pending:
        yield bytes(pending)


def _delimited(batches: Iterable[pa.RecordBatch], schema: Schema, delimiter: str) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(harmless(pa.array(schema.names, pa.string())).to_pylist())
    yield _drained(text)
    for batch in batches:
        columns = [
            _cells(harmless(column) if kind.is_string else as_text(column))
            for column, kind in zip(batch.columns, (column.kind for column in schema), strict=True)
        ]
        writer.writerows(zip(*columns, strict=True))
        yield _drained(text)


def _cells(texts: pa.StringArray) -> list[str]:
    return list(pc.fill_null(texts, "").to_pylist())


def _drained(text: io.StringIO) -> bytes:
    content = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return content


def harmless(texts: pa.StringArray) -> pa.StringArray:
    """Texts that no spreadsheet runs: those that begin like a formula and aren't plain numbers get an apostrophe in front."""
    risky = pc.and_(pc.match_substring_regex(texts, _FORMULA), pc.invert(pc.match_substring_regex(texts, _HARMLESS)))
    if not pc.any(risky).as_py():
        return texts
    return pc.if_else(risky, pc.binary_join_element_wise("'", texts, ""), texts)


def _json_lines(batches: Iterable[pa.RecordBatch], schema: Schema) -> Iterator[bytes]:
    values_of: list[Callable[[pa.Array], list[object]]] = [_json_values(column.kind) for column in schema]
    for batch in batches:
        columns = [values(column) for values, column in zip(values_of, batch.columns, strict=True)]
        rows = (dict(zip(schema.names, cells, strict=True)) for cells in zip(*columns, strict=True))
        yield b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _json_values(kind: Kind) -> Callable[[pa.Array], list[object]]:
    if kind is Kind.NUMERIC:
        return lambda column: [_short(value) for value in column.to_pylist()]
    return (lambda column: list(spelled(column.to_pylist()))) if kind is Kind.DATETIME else lambda column: column.to_pylist()


def _short(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() and abs(value) < 1e15 else value


def parquet_file(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """The bytes of one Parquet file, a row group a batch."""
    sink = _Drain()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.drained()
    yield sink.drained()


class _Drain(io.RawIOBase):
    """A file that is only ever appended to, emptied from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        added = bytes(memoryview(content))  # type: ignore[arg-type]
        self._pending += added
        self._written += len(added)
        return len(added)

    def tell(self) -> int:
        return self._written

    def drained(self) -> bytes:
        content = bytes(self._pending)
        self._pending.clear()
        return content
