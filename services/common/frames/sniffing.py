"""What a file is, from its bytes: format, compression, encoding, delimiter.

Every answer comes with a note in words where a person might be surprised by it. Memory is bounded, whatever the file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from services.common.errors import TooLarge, UnreadableFile
from services.common.objects.disk import engine_errors

CHUNK = 1 << 20
ONE_COLUMN = "\x1f"
"""Delimiter of a file that has one column: a character that no text file uses."""

_SAMPLE = 1 << 18
_DELIMITERS = (",", ";", "\t", "|")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_MOST_CONTROLS = 0.03
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook. Save the sheet as CSV, or unpack the archive, and import that"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook. Save the sheet as CSV and import that"),
    (b"BZh", "compressed with bzip2. Unpack it, or pack it with gzip"),
    (b"\xfd7zXZ", "compressed with xz. Unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it, or pack it with gzip"),
    (b"%PDF", "a PDF document. Import a table: CSV, TSV, JSON lines or Parquet"),
    (b"ARROW1", "an Arrow file. Save it as Parquet and import that"),
    (b"SQLite format 3", "an SQLite database. Export the table as CSV and import that"),
)


class Format(StrEnum):
    """How a file is laid out."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How bytes become characters. `errors` is Python's error handler; `note` tells a person, where it is news."""

    name: str
    errors: str = "strict"
    note: str = ""


def unpack(path: Path, directory: Path, *, most_bytes: int) -> Path:
    """The file itself, or what its gzip holds, written into `directory`.

    Raises `TooLarge` past `most_bytes` unpacked, `UnreadableFile`, and `EngineUnavailable` where the disk is full.
    """
    if _first_bytes(path, 2) != b"\x1f\x8b":
        return path
    target = directory / "unpacked"
    written = 0
    try:
        with engine_errors(passing=gzip.BadGzipFile), gzip.open(path) as source, target.open("wb") as sink:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > most_bytes:
                    raise TooLarge("The file, once unpacked,", limit=readable_size(most_bytes), cure="Import it in parts.")
                sink.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableFile("the gzip data is damaged or cut short. Pack the file again and upload it again.") from error
    return target


def find_format(path: Path, *, asked: Format | None = None, file_name: str = "") -> Format:
    """The format by the bytes, then by what was asked, then by the name. Raises `UnreadableFile` for what isn't a table."""
    head = _first_bytes(path, 1 << 12)
    if not head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise UnreadableFile("the file is empty. Import a file with a header and at least one row.")
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise UnreadableFile(f"the file is {what}.")
    is_parquet = head.startswith(b"PAR1")
    if is_parquet or asked is Format.PARQUET:
        if not is_parquet:
            raise UnreadableFile("the file isn't Parquet, though that was said. Leave the format out to let it be found.")
        return Format.PARQUET
    return asked or _format_of_name(file_name) or _format_of_text(head)


def _format_of_name(file_name: str) -> Format | None:
    name = file_name.lower().removesuffix(".gz")
    endings = {".csv": Format.CSV, ".tsv": Format.TSV, ".tab": Format.TSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}
    return next((found for ending, found in endings.items() if name.endswith(ending)), None)


def _format_of_text(head: bytes) -> Format:
    start = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return Format.JSONL if re.match(rb'\{\s*("|\}|$)|\[\s*[\[{]', start) else Format.CSV


def find_encoding(path: Path) -> Encoding:
    """By byte order mark; else UTF-8 where the whole file is; else UTF-16 without a mark; else what Windows wrote."""
    head = _first_bytes(path, 1 << 12)
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return _marked(path, name)
    if wide := _unmarked_utf16(head):
        return Encoding(
            name=wide, errors="replace", note=f"Read as {wide.upper()}: it has no byte order mark, but reads like it."
        )
    return _narrow(path)


def _marked(path: Path, name: str) -> Encoding:
    bad, _ = _count_utf8(path) if name == "utf-8-sig" else (1, 0)
    if name == "utf-8-sig":
        note = f"{bad:,} bytes aren't valid UTF-8 and were replaced." if bad else ""
        return Encoding(name=name, errors="replace" if bad else "strict", note=note)
    return Encoding(name=name, errors="replace", note=f"Read as {name.upper()}, by its byte order mark.")


def _unmarked_utf16(head: bytes) -> str | None:
    even, odd = head[0::2], head[1::2]
    if len(odd) >= 8 and odd.count(0) > 0.6 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if len(odd) >= 8 and even.count(0) > 0.6 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return None


def _narrow(path: Path) -> Encoding:
    """UTF-8 if the file is, or nearly is (a few broken bytes among many good ones); else Windows-1252."""
    bad, good = _count_utf8(path)
    if not bad:
        return Encoding(name="utf-8")
    if good > 10 * bad:
        return Encoding(name="utf-8", errors="replace", note=f"{bad:,} bytes aren't valid UTF-8 and were replaced.")
    if _share_of_controls(_first_bytes(path, _SAMPLE)) > _MOST_CONTROLS:
        raise UnreadableFile("the file isn't text but binary data. Import a table: CSV, TSV, JSON lines or Parquet.")
    return Encoding(name="cp1252", errors="replace", note="Read as Windows-1252 (Latin-1): it isn't valid UTF-8.")


def _share_of_controls(sample: bytes) -> float:
    """The share of bytes that no text of one byte a character has; in compressed data it is about a tenth."""
    return 1 - len(sample.translate(None, delete=_CONTROLS)) / len(sample)


def _count_utf8(path: Path) -> tuple[int, int]:
    """How many sequences aren't UTF-8, and how many characters past ASCII are. Counts the good ones only once one is bad."""
    bad = good = 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if chunk.isascii() and decoder.getstate()[0] == b"":
                continue
            text = decoder.decode(chunk)
            replaced = text.count("\ufffd") - chunk.count(b"\xef\xbf\xbd")
            bad += max(replaced, 0)
            good += sum(map(len, re.findall(r"[^\x00-\x7f]+", text))) - max(replaced, 0)
    return bad + decoder.decode(b"", final=True).count("\ufffd"), good


def find_delimiter(path: Path, encoding: Encoding) -> str:
    """The character that parts the cells most evenly over the first rows; `ONE_COLUMN` where the header has but one cell."""
    lines = _sample_lines(path, encoding)
    return (
        max(_DELIMITERS, key=lambda d: _evenness(lines, d)) if any(_evenness(lines, d) > 0 for d in _DELIMITERS) else ONE_COLUMN
    )


def _sample_lines(path: Path, encoding: Encoding) -> list[str]:
    with path.open(encoding=encoding.name, errors=encoding.errors, newline="") as file:
        text = file.read(_SAMPLE)
        whole = not file.read(1)
    lines = list(io.StringIO(text, newline=""))  # str.splitlines would part lines at characters that aren't line ends
    return lines if whole or len(lines) < 2 else lines[:-1]


def _evenness(lines: list[str], delimiter: str) -> float:
    """Share of rows with as many cells as the header, a little more for more cells; 0 where the header has one cell."""
    widths = [len(row) for row in islice(_rows(lines, delimiter), 1000) if row]
    if not widths or widths[0] < 2:
        return 0.0
    return sum(width == widths[0] for width in widths) / len(widths) + min(widths[0], 100) / 10_000


def _rows(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    rows = csv.reader((line.replace("\x00", "") for line in lines), delimiter=delimiter)
    while True:
        try:
            yield next(rows)
        except (StopIteration, csv.Error):  # an oversized cell: the rows before it must do
            return


def readable_size(size: int) -> str:
    """Bytes for a sentence: `16 MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
