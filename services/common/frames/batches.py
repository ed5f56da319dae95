"""What the readers of files share: limits, notes, lines of text, names of columns, cells as Arrow strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc

from services.common.errors import UnreadableFile
from services.common.frames.kinds import HOLDOUT, ROW
from services.common.frames.sniffing import Encoding, readable_size

MOST_CELL_CHARACTERS = 16 << 20
MOST_LINE_CHARACTERS = 64 << 20
MOST_COLUMNS = 2_000
MOST_NAME_CHARACTERS = 500
BATCH_ROWS = 8_192
BATCH_CHARACTERS = 8 << 20


@dataclass(slots=True)
class Notes:
    """What a reader noticed, in words; counted things are told once, at the end."""

    lines: list[str] = field(default_factory=list)
    blank: int = 0
    nul: int = 0

    def add(self, note: str) -> None:
        """Keeps a note, once."""
        if note and note not in self.lines:
            self.lines.append(note)

    def told(self) -> list[str]:
        """All notes as sentences."""
        counted = []
        if self.blank:
            counted.append(f"Skipped {self.blank:,} blank {'row' if self.blank == 1 else 'rows'}.")
        if self.nul:
            counted.append(f"Took {self.nul:,} NUL {'character' if self.nul == 1 else 'characters'} out of the text.")
        return self.lines + counted


class Lines:
    """The lines of a text file, none longer than the limit, without NULs; counts the characters it has given out."""

    def __init__(self, file: TextIO, notes: Notes) -> None:
        self.characters = 0
        self._file = file
        self._notes = notes

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(iter(partial(self._file.readline, MOST_LINE_CHARACTERS), ""), start=1):
            if len(line) >= MOST_LINE_CHARACTERS:
                raise UnreadableFile(f"the line is longer than {readable_size(MOST_LINE_CHARACTERS)}.", line=number)
            if "\x00" in line:
                self._notes.nul += line.count("\x00")
                line = line.replace("\x00", "")
            self.characters += len(line)
            yield line


def opened(path: Path, encoding: Encoding) -> TextIO:
    """The file as text, its line ends kept as they are, so that those inside quotes survive."""
    return path.open(encoding=encoding.name, errors=encoding.errors, newline="", buffering=1 << 20)


def batch_of_rows(names: Sequence[str], rows: list[list[str]]) -> pa.RecordBatch:
    """Rows of cells as columns; blank cells are missing."""
    columns: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.RecordBatch.from_arrays([blank_to_null(pa.array(cells, pa.string())) for cells in columns], names=list(names))


def blank_to_null(texts: pa.StringArray) -> pa.StringArray:
    """Cells that are empty or all white space become missing."""
    blank = pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts))
    return pc.if_else(blank, pa.scalar(None, pa.string()), texts) if pc.any(blank).as_py() else texts


def text_array(cells: list[str | None]) -> pa.StringArray:
    """Cells as an Arrow array; halves of surrogate pairs, which JSON can spell, become `?`."""
    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if c is None else c.encode("utf-8", "replace").decode() for c in cells], pa.string())


def unique_names(header: Sequence[str], notes: Notes) -> list[str]:
    """Headers made unique and never empty: a repeated one gets `_2`, `_3`, ..., an empty one `column_<position>`."""
    if len(header) > MOST_COLUMNS:
        raise UnreadableFile(f"there are {len(header):,} columns; the limit is {MOST_COLUMNS:,}.", line=1)
    taken = {ROW, HOLDOUT}
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        if len(cell) > MOST_NAME_CHARACTERS:
            raise UnreadableFile(
                f"the name of column {position} has {len(cell):,} characters; "
                f"the limit is {MOST_NAME_CHARACTERS}. Is the first row a header?",
                line=1,
            )
        name = cell if cell.strip() else f"column_{position}"
        unique = _numbered(name, taken, set(header))
        if unique != cell:
            notes.add(
                f"Column {position} {f'repeats the name {cell!r}' if cell.strip() else 'has no name'} and is called '{unique}'."
            )
        taken.add(unique)
        names.append(unique)
    return names


def _numbered(name: str, taken: set[str], headers: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken or f"{name}_{number}" in headers:
        number += 1
    return f"{name}_{number}"
