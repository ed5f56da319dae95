"""Sketches, spelling and export: counting in bounded memory, and values as text."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from services.common.frames.casting import as_text
from services.common.frames.export import CHUNK_BYTES, export, harmless
from services.common.frames.kinds import plain_text
from services.common.frames.parquet import read_version
from services.common.frames.sketch import Distinct, Frequent, Moments, hashes_of
from services.common.frames.sniffing import Format


def texts(values) -> pa.StringArray:
    return pa.array(list(values), pa.string())


def test_distinct_values_are_exact_until_the_sketch_is_full():
    sketch = Distinct(capacity=1000)
    for start in range(0, 1000, 100):
        sketch.add(hashes_of(texts(str(i) for i in range(start, start + 100))))
    sketch.add(hashes_of(texts(str(i) for i in range(250))))
    assert (sketch.exact, sketch.distinct, sketch.repeats) == (True, 1000, 250)


def test_distinct_values_and_repeats_are_close_above_that():
    sketch = Distinct(capacity=2000)
    for start in range(0, 60_000, 3000):
        sketch.add(hashes_of(texts(str(i) for i in range(start, start + 3000))))
        sketch.add(hashes_of(texts(str(i) for i in range(start, start + 1000))))
    assert not sketch.exact
    assert sketch.distinct == pytest.approx(60_000, rel=0.07)
    assert sketch.repeats == pytest.approx(20_000, rel=0.12)


def test_no_repeats_are_estimated_where_there_are_none():
    sketch = Distinct(capacity=500)
    sketch.add(hashes_of(texts(str(i) for i in range(20_000))))
    assert sketch.repeats == 0


def test_frequent_values_survive_a_flood_of_rare_ones():
    frequent = Frequent(capacity=100)
    for i in range(50):
        frequent.add(texts([*(f"rare {i} {j}" for j in range(90)), *["common"] * 5, *["usual"] * 3]))
    assert [value for value, _ in frequent.top(2)] == ["common", "usual"]
    assert frequent.top(1)[0][1] == pytest.approx(250, abs=5)


def test_moments_in_batches_are_those_of_all():
    numbers = np.random.default_rng(1).normal(1e6, 3, 10_000)
    moments = Moments()
    for batch in np.array_split(numbers, 7):
        moments.add(batch)
    assert moments.mean == pytest.approx(numbers.mean())
    assert moments.standard_deviation == pytest.approx(numbers.std(ddof=1))
    assert (moments.minimum, moments.maximum, moments.count) == (numbers.min(), numbers.max(), 10_000)


def test_numbers_are_spelled_the_same_one_by_one_and_in_bulk():
    draw = random.Random(3)
    numbers = [draw.choice([1, -1]) * draw.random() * 10 ** draw.randint(-12, 20) for _ in range(3000)]
    numbers += [0.0, -0.0, 3.0, 1e15, 1e-4, 0.1, 1e9, 123456789.125, 1e300, None]
    assert as_text(pa.array(numbers, pa.float64())).to_pylist() == [plain_text(number) for number in numbers]
    assert plain_text(3.0) == "3"


def test_times_are_spelled_the_same_one_by_one_and_in_bulk():
    moments = [datetime(2026, 1, 2, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None]
    spelled = as_text(pa.array(moments, pa.timestamp("us", "UTC"))).to_pylist()
    assert (
        spelled == [plain_text(moment) for moment in moments] == ["2026-01-02T00:00:00Z", "1969-12-31T23:59:59.999999Z", None]
    )


def test_formulas_are_made_harmless_and_numbers_are_left_alone():
    cells = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "-5", "+1.5e3", "plain", None, "a=b"]
    assert harmless(texts(cells)).to_pylist() == [
        "'=1+1", "'+cmd|' /C calc'!A0", "'-2+3", "'@SUM(A1)", "'\tx", "-5", "+1.5e3", "plain", None, "a=b"
    ]  # fmt: skip


@pytest.fixture
def exported(import_bytes, objects):
    def call(content: bytes, file_format: Format) -> list[bytes]:
        stored = import_bytes(content).stored
        return list(export(read_version(objects, stored.key), stored.manifest.schema, file_format))

    return call


def test_csv_carries_quotes_line_breaks_and_negative_numbers(exported):
    content = b'"=head",n\n"say ""hi"",\nthere",-5\n=x,2.5\n'
    rows = list(csv.reader(io.StringIO(b"".join(exported(content, Format.CSV)).decode(), newline="")))
    assert rows == [["'=head", "n"], ['say "hi",\nthere', "-5"], ["'=x", "2.5"]]


def test_json_lines_carry_values_as_they_are(exported):
    lines = b"".join(exported("a,n,f\n=x 🎉,1,true\n,2.5,\n".encode(), Format.JSONL)).splitlines()
    assert [json.loads(line) for line in lines] == [{"a": "=x 🎉", "n": 1, "f": True}, {"a": None, "n": 2.5, "f": None}]


@pytest.mark.parametrize("file_format", list(Format))
def test_chunks_fit_in_a_message(exported, file_format):
    draw = random.Random(1)
    rows = b"".join(b"%s,%d\n" % (draw.randbytes(400).hex().encode(), i) for i in range(3200))
    chunks = exported(b"text,n\n" + rows, file_format)
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= CHUNK_BYTES
