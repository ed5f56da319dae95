"""CSV and TSV as batches of strings, with the line of whatever can't be read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Literal, TextIO

import pyarrow as pa

from services.common.errors import UnreadableFile
from services.common.frames.batches import (
    BATCH_CHARACTERS,
    BATCH_ROWS,
    MOST_CELL_CHARACTERS,
    Lines,
    Notes,
    batch_of_rows,
    opened,
    unique_names,
)
from services.common.frames.sniffing import ONE_COLUMN, Encoding, readable_size

Quoting = Literal[0, 3]

_END = "\x00the end\x00"
"""A last line that no file can have (NULs are taken out): where it doesn't come back as a row, a quote was left open."""


def read_delimited(path: Path, encoding: Encoding, delimiter: str, notes: Notes) -> Iterator[pa.RecordBatch]:
    """The rows under the first row that isn't blank, which is the header. Raises `UnreadableFile` for a row that differs."""
    names = {";": "semicolons", "\t": "tabs", "|": "bars"}
    if delimiter in names:
        notes.add(f"Cells are separated by {names[delimiter]}.")
    quoting: Quoting = csv.QUOTE_MINIMAL
    if delimiter in ("\t", ONE_COLUMN) and not _quoting_fits(path, encoding, delimiter):
        quoting = csv.QUOTE_NONE
        notes.add("Quotes are taken as plain characters: read as quoting, they don't fit the rows.")
    with opened(path, encoding) as file:
        yield from _table(file, delimiter, quoting, notes)


def _quoting_fits(path: Path, encoding: Encoding, delimiter: str) -> bool:
    """Whether every row is as wide as the header when quotes are read strictly; in files of tabs they often are plain text."""
    with opened(path, encoding) as file:
        rows = _Rows(Lines(file, Notes()), delimiter, csv.QUOTE_MINIMAL, strict=True)
        try:
            width = len(next(rows, []))
            return all(len(row) in (0, width) for row in rows)
        except UnreadableFile:
            return False


def _table(file: TextIO, delimiter: str, quoting: Quoting, notes: Notes) -> Iterator[pa.RecordBatch]:
    lines = Lines(file, notes)
    rows = _Rows(lines, delimiter, quoting)
    header = next((row for row in rows if any(cell.strip() for cell in row)), None)
    if header is None:
        raise UnreadableFile("the file is empty. Import a file with a header and at least one row.")
    names = unique_names(header, notes)
    notes.add(_odd_header(header))
    pending: list[list[str]] = []
    counted = lines.characters
    for row in rows:
        if len(row) != len(names):
            if not row:
                notes.blank += 1
                continue
            raise UnreadableFile(_ragged(len(row), len(names), delimiter), line=rows.line)
        if not any(row):
            notes.blank += 1
            continue
        pending.append(row)
        if len(pending) >= BATCH_ROWS or lines.characters - counted >= BATCH_CHARACTERS:
            yield batch_of_rows(names, pending)
            pending, counted = [], lines.characters
    yield batch_of_rows(names, pending)


def _odd_header(header: list[str]) -> str:
    """A note where most names are numbers, as in a file without a header."""
    numbers = sum(_is_number(cell) for cell in header)
    if 2 * numbers <= len(header):
        return ""
    return "The first row reads like data, but is taken as the names of the columns. If the file has no header, add one."


def _is_number(cell: str) -> bool:
    try:
        return isfinite(float(cell))
    except ValueError:
        return False


def _ragged(cells: int, expected: int, delimiter: str) -> str:
    shown = {"\t": "a tab", ONE_COLUMN: "a comma"}.get(delimiter, f"'{delimiter}'")
    return (
        f"the row has {cells} {'cell' if cells == 1 else 'cells'}, but the header has {expected}. "
        f"Put cells that hold {shown} or a line break in double quotes, and write a quote inside them twice."
    )


class _Rows:
    """The rows of delimited text and the line that each starts on. Raises `UnreadableFile` for a huge cell or an open quote."""

    def __init__(self, lines: Iterable[str], delimiter: str, quoting: Quoting, *, strict: bool = False) -> None:
        csv.field_size_limit(MOST_CELL_CHARACTERS)
        self._rows = csv.reader(chain(lines, [_END]), delimiter=delimiter, quoting=quoting, strict=strict)
        self._ended_at = 0
        self.line = 1

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self.line = self._ended_at + 1
        try:
            row = next(self._rows)
        except csv.Error as error:
            size = readable_size(MOST_CELL_CHARACTERS)
            raise UnreadableFile(
                f"a cell is larger than {size}, or a quote that opens here is never closed.", line=self.line, limit=size
            ) from error
        self._ended_at = self._rows.line_num
        if row and row[-1].endswith(_END):
            if row == [_END]:
                raise StopIteration
            raise UnreadableFile("a quote that opens in this row is never closed.", line=self.line)
        return row
