"""Feedback from a file that is still arriving: CSV, or JSON lines, in memory that doesn't grow with it.

A line that can't be read is one wrong piece, told with its number, and the next line is read on; in JSON also one that is
longer than `MOST_RECORD`. A file as such is given up where its columns make no sense, or a CSV record is as long as that.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import orjson

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import FieldProblem, InvalidField
from services.gateway.json_reading import read_message
from services.gateway.json_text import refuse_twice

CSV, JSON_LINES = "text/csv", "application/x-ndjson"
KINDS = {CSV: CSV, JSON_LINES: JSON_LINES, "application/jsonl": JSON_LINES, "application/x-jsonlines": JSON_LINES}
"""Content types, and which of the two they are."""
MOST_RECORD = 1 << 20
"""Bytes of one line, or of one CSV record over several."""
_PIECES = 500
_NAMES = {
    "event_id": "event_id", "eventid": "event_id", "prediction_id": "prediction_id", "predictionid": "prediction_id",
    "class": "class", "class_name": "class", "classname": "class", "class_names": "class", "classnames": "class",
    "source": "source", "observe_time": "observe_time", "observetime": "observe_time",
}  # fmt: skip
_BETWEEN_CLASSES = "|"

Piece: TypeAlias = gateway_pb2.Feedback | FieldProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Pieces of a stream in their order, or why one can't be read; `lines` where they are from a file, from 1."""

    pieces: Sequence[Piece]
    size: int
    lines: Sequence[int] = ()


async def read_file(kind: str, chunks: AsyncIterator[bytes], *, several: bool) -> AsyncIterator[Part]:
    """The file in parts. `several`: a cell may name several classes, with `|` between them. Raises `InvalidField`."""
    lines = _Lines(apart=kind == JSON_LINES)
    records = _JsonRecords(lines) if kind == JSON_LINES else _CsvRecords(lines, several)
    async for chunk in chunks:
        lines.add(chunk)
        for part in _parts(records):
            yield part
    lines.end()
    for part in _parts(records):
        yield part


class _Lines:
    """The lines that have arrived in full, from the record at hand on. `number` counts those before it.

    `apart`: each is a record of its own. Of one that is too long so much is kept that this can be seen.
    """

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        self._lines: list[bytes] = []
        self._rest = b""
        self._at = 0
        self._begun = False
        self.number = 0
        self.ended = False

    def add(self, chunk: bytes) -> None:
        """Raises `InvalidField` where what waits for its end is too long already."""
        self._lines = self._lines[self._at :]
        self._at = 0
        if len(self._rest) + sum(map(len, self._lines)) > MOST_RECORD:
            if not self._apart:
                raise InvalidField(
                    f"line {self.number + 1}", f"is longer than {MOST_RECORD >> 20} MiB, or a quote is never closed."
                )
            end = chunk.find(b"\n")
            chunk = chunk[end:] if end >= 0 else b""
        *whole, self._rest = _split(self._rest + chunk)
        if whole and not self._begun:
            self._begun = True
            whole[0] = whole[0].removeprefix(codecs.BOM_UTF8)
        self._lines += whole

    def end(self) -> None:
        if self._rest:
            self.add(b"\n")
        self.ended = True

    def read(self, offset: int) -> bytes | None:
        """The line `offset` behind the record's first; None where it hasn't arrived."""
        at = self._at + offset
        return self._lines[at] if at < len(self._lines) else None

    def take(self, count: int) -> None:
        """Goes on behind the record."""
        self._at += count
        self.number += count


def _split(content: bytes) -> list[bytes]:
    """Lines with their ends; the last is what has no end yet."""
    *whole, rest = content.split(b"\n")
    return [*(line + b"\n" for line in whole), rest]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    piece: Piece
    line: int
    size: int


def _parts(records: _JsonRecords | _CsvRecords) -> Iterator[Part]:
    while found := list(islice(records, _PIECES)):
        yield Part(pieces=[one.piece for one in found], size=sum(one.size for one in found), lines=[one.line for one in found])


class _JsonRecords:
    """Iterates over what has arrived; may be gone on with when more has."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[_Record]:
        while (line := self._lines.read(0)) is not None:
            self._lines.take(1)
            if not line.isspace():
                yield _Record(piece=_json_piece(line), line=self._lines.number, size=len(line))


def _json_piece(line: bytes) -> Piece:
    if len(line) > MOST_RECORD:
        return FieldProblem(field="", problem=f"is longer than {MOST_RECORD >> 20} MiB, the most that one piece may have.")
    feedback = gateway_pb2.Feedback()
    try:
        sent = orjson.loads(line)
        refuse_twice(line, sent)
        read_message(sent, feedback)
    except orjson.JSONDecodeError as error:
        return FieldProblem(field="", problem=f"isn't JSON: {error.msg} (column {error.colno}).")
    except InvalidField as error:
        return error.problems[0]
    return feedback


class _NotThereYetError(Exception):
    """A record's next line hasn't arrived."""


class _CsvRecords:
    """As `_JsonRecords`. A record that hasn't arrived whole is read from its beginning again when more has."""

    def __init__(self, lines: _Lines, several: bool) -> None:
        self._lines = lines
        self._several = several
        self._delimiter = ""
        self._columns: list[str] = []

    def __iter__(self) -> Iterator[_Record]:
        if not self._delimiter:
            head = self._lines.read(0)
            if head is None:
                if self._lines.ended:
                    raise InvalidField("line 1", "is missing: a CSV file begins with the names of its columns.")
                return
            self._delimiter = max(",;\t|", key=lambda one: head.count(one.encode()))
        while (found := self._row()) is not None:
            cells, line, size = found
            if not self._columns:
                self._columns = _columns(cells, line)
            elif cells:
                yield _Record(piece=_csv_piece(self._columns, cells, self._several), line=line, size=size)

    def _row(self) -> tuple[list[str] | FieldProblem, int, int] | None:
        """The next record, its first line and its size; None until it has arrived whole."""
        taken: list[bytes] = []
        try:
            cells: list[str] | FieldProblem = next(csv.reader(self._reading(taken), delimiter=self._delimiter), [])
        except _NotThereYetError:
            return None
        except csv.Error as error:
            cells = FieldProblem(field="", problem=f"isn't readable as CSV: {error}.")
        if not taken:
            return None
        line = self._lines.number + 1
        self._lines.take(len(taken))
        return cells, line, sum(map(len, taken))

    def _reading(self, taken: list[bytes]) -> Iterator[str]:
        while (line := self._lines.read(len(taken))) is not None:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape")
        if not self._lines.ended:
            raise _NotThereYetError


def _columns(cells: list[str] | FieldProblem, number: int) -> list[str]:
    """The header's names, Regrow's own in one spelling. Raises `InvalidField`."""
    if isinstance(cells, FieldProblem):
        raise InvalidField(f"line {number}", cells.problem)
    if not _is_text(cells):
        raise InvalidField(f"line {number}", "isn't text in UTF-8: save the file as UTF-8.")
    names = [_NAMES.get(cell.strip().lower().replace(" ", "_"), cell) for cell in cells]
    if "class" not in names:
        raise InvalidField(
            f"line {number}", f"has no column 'class'. It has: {', '.join(name[:40] for name in names[:20]) or 'none'}."
        )
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise InvalidField(f"line {number}", f"has the column '{twice[:40]}' twice.")
    return names


def _csv_piece(columns: list[str], cells: list[str] | FieldProblem, several: bool) -> Piece:
    if isinstance(cells, FieldProblem):
        return cells
    if not _is_text(cells):
        return FieldProblem(field="", problem="isn't text in UTF-8.")
    if len(cells) != len(columns):
        return FieldProblem(field="", problem=f"has {len(cells):,} cells, and there are {len(columns):,} columns.")
    row = dict(zip(columns, cells, strict=True))
    label = row.pop("class")
    feedback = gateway_pb2.Feedback(
        event_id=row.pop("event_id", ""), prediction_id=row.pop("prediction_id", "").strip(), source=row.pop("source", ""),
        class_names=_classes(label, several),
    )  # fmt: skip
    if time := row.pop("observe_time", "").strip():
        try:
            feedback.observe_time.FromJsonString(time)
        except ValueError:
            return FieldProblem(field="observe_time", problem=f"'{time[:40]}' is no time such as 2026-03-27T14:53:00Z.")
    if not feedback.prediction_id:
        feedback.features.update({name: cell for name, cell in row.items() if cell})
    return feedback


def _is_text(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _classes(label: str, several: bool) -> list[str]:
    if not several:
        return [label] if label.strip() else []
    return [one.strip() for one in label.split(_BETWEEN_CLASSES) if one.strip()]
