"""JSON lines as batches of strings: one object a line, nested values as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from services.common.errors import UnreadableFile
from services.common.frames.batches import (
    BATCH_CHARACTERS,
    BATCH_ROWS,
    MOST_CELL_CHARACTERS,
    Lines,
    Notes,
    blank_to_null,
    opened,
    text_array,
    unique_names,
)
from services.common.frames.sniffing import Encoding, readable_size


def read_json_lines(path: Path, encoding: Encoding, notes: Notes) -> Iterator[pa.RecordBatch]:
    """A column for every key, in the order in which they come up. Raises `UnreadableFile` for a line that isn't an object."""
    names: dict[str, str] = {}
    pending: list[dict[str, object]] = []
    with opened(path, encoding) as file:
        lines = Lines(file, notes)
        counted = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                notes.blank += 1
                continue
            pending.append(_object(line, number))
            if len(pending) >= BATCH_ROWS or lines.characters - counted >= BATCH_CHARACTERS:
                yield _batch_of_objects(names, pending, notes)
                pending, counted = [], lines.characters
    yield _batch_of_objects(names, pending, notes)


def _object(line: str, number: int) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        cause = error.msg if isinstance(error, json.JSONDecodeError) else "a number or a nesting is too large"
        raise UnreadableFile(f"not a JSON object ({cause}). Write one object a line.", line=number) from error
    if not isinstance(value, dict):
        hint = (
            " The file looks like a JSON array: write each of its objects on a line of its own." if line.startswith("[") else ""
        )
        raise UnreadableFile(f"not a JSON object, but {type(value).__name__}.{hint}", line=number)
    if len(line) > MOST_CELL_CHARACTERS and any(len(cell_text(cell) or "") > MOST_CELL_CHARACTERS for cell in value.values()):
        size = readable_size(MOST_CELL_CHARACTERS)
        raise UnreadableFile(f"a value is larger than {size}.", line=number, limit=size)
    return value


def _batch_of_objects(names: dict[str, str], rows: list[dict[str, object]], notes: Notes) -> pa.RecordBatch:
    """`names` maps keys to column names and grows with the keys seen."""
    new = list(dict.fromkeys(key for row in rows for key in row if key not in names))
    if new:
        names.update(zip([*names, *new], unique_names([*names, *new], notes), strict=True))
    if not names:
        raise UnreadableFile("no object has a key. Import a file with at least one column and one row.")
    arrays = [text_array([cell_text(row.get(key)) for row in rows]) for key in names]
    return pa.RecordBatch.from_arrays([blank_to_null(array) for array in arrays], names=list(names.values()))


def cell_text(value: object) -> str | None:
    """A JSON value as a cell: strings as they are, nested values as JSON text, null as missing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int | float):
        return None if value != value else repr(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
