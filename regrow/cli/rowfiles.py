"""Rows from what a person types or has: `name=value` words, JSON, a CSV, TSV or JSON lines file, or a pipe."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from regrow.cli.options import Mistake
from regrow.errors import CallError

Row = dict[str, Any]


def rows_from_json(text: str) -> list[Row]:
    """An object, an array of objects, or {"rows": [...]}. Raises `Mistake`."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Mistake(f"--json-rows is no JSON: {error}.") from None
    if isinstance(found, dict) and isinstance(found.get("rows"), list):
        found = found["rows"]
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Mistake('A row is a JSON object of column to value: {"text": "Lovely"}, or an array of such.')
    return rows


def rows_from_file(path: Path) -> Iterator[Row]:
    """The rows of a CSV, TSV or JSON lines file, plain or gzipped; `-` is stdin. Raises `Mistake`."""
    try:
        with _opened(path) as file:
            yield from _rows(file, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"{path} can't be read: {error}.") from None


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows, at most `size` at a time."""
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def _opened(path: Path) -> TextIO:
    if str(path) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(file: TextIO, path: Path) -> Iterator[Row]:
    kind = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if kind == ".parquet":
        raise Mistake("Parquet is read on import only. Give a CSV, TSV or JSON lines file.")
    first = file.readline()
    if not first.strip():
        raise Mistake(f"{path} is empty.")
    if kind in (".jsonl", ".ndjson", ".json") or (not kind and first.lstrip().startswith("{")):
        for number, line in enumerate(_chain(first, file), start=1):
            if line.strip():
                yield _object(line, path, number)
        return
    csv.field_size_limit(1 << 30)
    delimiter = "\t" if kind == ".tsv" else max(",;\t|", key=first.count)
    yield from csv.DictReader(_chain(first, file), delimiter=delimiter, restkey="")


def _chain(first: str, file: TextIO) -> Iterator[str]:
    yield first
    yield from file


def _object(line: str, path: Path, number: int) -> Row:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise Mistake(f"{path}, line {number} is no JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Mistake(f"{path}, line {number} is no JSON object.")
    return found


@contextmanager
def counted_from(done: int) -> Iterator[None]:
    """Says which rows of a file a refused batch is, since the server counts them from 0 in each call."""
    try:
        yield
    except CallError as error:
        if done and error.fields:
            error.message += f" (Counted from row {done:,} of the file; the rows before it are done.)"
        raise


def local_columns(path: Path) -> list[str]:
    """The columns of a file, as far as they can be told without Regrow; for hints alone."""
    try:
        return [str(column) for column in next(iter(rows_from_file(path)), {})]
    except (Mistake, StopIteration):
        return []
