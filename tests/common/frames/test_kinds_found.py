"""What kind each column of a file is found to be, and what a user may say instead."""

from __future__ import annotations

import random

import pytest
from pandas import Timestamp

from services.common.errors import InvalidField
from services.common.frames.kinds import Kind
from services.common.frames.parquet import load_version


@pytest.fixture
def kind_of(import_bytes):
    """Imports one column among others and answers what it became."""

    def find(name: str, cells: list[str], **wish):
        lines = [f'"{name}",filler'] + [f'"{cell}",x' for cell in cells]
        return import_bytes("\n".join(lines).encode(), **wish).stored.manifest.schema.columns[0]

    return find


WORDS = [
    "fit",
    "lovely",
    "dress",
    "too",
    "small",
    "returned",
    "colour",
    "is",
    "not",
    "as",
    "shown",
    "great",
    "would",
    "buy",
    "again",
]


def sentences(count: int) -> list[str]:
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=draw.randint(5, 25))) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "cells", "kind", "style"),
    [
        ("review", sentences(60), "text", ""),
        ("review", sentences(3), "text", ""),
        ("title", [f"{a} {b}" for a in WORDS for b in WORDS], "text", ""),
        ("city", ["Berlin", "New York", "Paris"] * 20, "categorical", ""),
        ("target", [f"class {i}" for i in range(10_000)] * 2, "categorical", ""),
        ("rating", [str(i % 5 + 1) for i in range(60)], "numeric", ""),
        ("price", ["1", "2.5", "-3e2", "+4", ".5", "NA", "", "null"], "numeric", ""),
        ("price", ["1,200.50", "7", "1,000,000"], "numeric", "thousands"),
        ("price", ["1.200,50", "7", "12,5"], "numeric", "decimal_comma"),
        ("price", ["7"] * 3000 + ["1,200"] * 3000, "numeric", "thousands"),
        ("n", ["1"] * 300 + ["x"], "numeric", ""),
        ("n", ["1"] * 30 + ["x", "y", "z"], "categorical", ""),
        ("bought", ["0", "1", "1", "0"], "categorical", ""),
        ("bought", ["true", "False", "TRUE", "NA"], "boolean", ""),
        ("bought", ["yes", "no"] * 9, "categorical", ""),
        ("zip", ["01234", "99999", "10115"] * 4, "categorical", ""),
        ("store id", [str(i % 7) for i in range(70)], "categorical", ""),
        ("user_id", [str(i * 37) for i in range(70)], "id", ""),
        ("userId", [str(i * 37) for i in range(70)], "id", ""),
        ("paid", [str(i * 37 % 71) for i in range(70)], "numeric", ""),
        ("n", [str(i) for i in range(70)], "id", ""),
        ("key", [f"a{i:06x}-f{i}" for i in range(70)], "id", ""),
        ("day", ["2026-01-31", "2026-02-01"], "datetime", ""),
        ("at", ["2026-01-31T10:00:00Z", "2026-02-01 11:30:00+02:00", "N/A"], "datetime", ""),
        ("day", ["31/12/2025", "01/02/2026"], "datetime", "%d/%m/%Y"),
        ("day", ["01/02/2026", "03/04/2026"], "datetime", "%m/%d/%Y"),
        ("day", ["31.12.2025 10:15", "01.02.2026 09:00"], "datetime", "%d.%m.%Y %H:%M"),
        ("day", ["Mar 5, 2026", "Dec 24, 2025"], "datetime", "%b %d, %Y"),
        ("nothing", ["", " ", ""], "categorical", ""),
        ("nothing", ["NA", "null", "-"], "categorical", ""),
    ],
)  # fmt: skip
def test_columns_are_found_to_be(kind_of, name, cells, kind, style):
    column = kind_of(name, cells)
    assert (column.kind.value, column.style) == (kind, style), column.inferred_because
    assert column.inferred_because


def test_a_date_that_reads_two_ways_says_so(kind_of):
    assert "%d/%m/%Y fits as well" in kind_of("day", ["01/02/2026", "03/04/2026"]).inferred_because


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "0", "yes", "OFF", "NA"], Kind.BOOLEAN, [True, False, True, False, None]),
        (["1.5", "x", ""], Kind.NUMERIC, [1.5, None, None]),
        (["1.50", " 2 ", ""], Kind.CATEGORICAL, ["1.50", "2", None]),
        (
            ["2026-01-02", "-5", "0001-01-01"],
            Kind.DATETIME,
            [Timestamp("2026-01-02", tz="UTC"), None, Timestamp("0001-01-01", tz="UTC")],
        ),
        (["1.50", " 2 ", ""], Kind.TEXT, ["1.50", " 2 ", None]),
    ],
)
def test_the_users_kind_wins(import_bytes, objects, cells, kind, values):
    imported = import_bytes(("c,d\n" + "".join(f"{cell},x\n" for cell in cells)).encode(), kinds={"c": kind})
    column = imported.stored.manifest.schema.columns[0]
    assert (column.kind, column.inferred_because) == (kind, "")
    frame = load_version(objects, imported.stored.key)
    assert [None if value != value else value for value in frame["c"].tolist()] == values


def test_values_that_the_users_kind_can_not_read_are_told(import_bytes):
    imported = import_bytes(b"c,d\n1,x\nten,x\n", kinds={"c": Kind.NUMERIC})
    assert "Column 'c': 1 value can't be read as numeric and counts as missing, for example 'ten'." in imported.notes


@pytest.mark.parametrize(
    ("kinds", "problem"),
    [
        ({"d": Kind.NUMERIC}, "no value of column 'd' can be read as numeric, for example 'x'"),
        ({"e": Kind.TEXT}, "no column 'e'"),
    ],
)
def test_a_kind_that_can_not_work_is_refused(import_bytes, objects, kinds, problem):
    with pytest.raises(InvalidField, match=problem):
        import_bytes(b"c,d\n1,x\n2,x\n", kinds=kinds)
    assert list(objects.list("regrow-datasets")) == []


def test_styled_values_are_read_as_they_are_meant(import_bytes, objects):
    imported = import_bytes(b"price;day\n1.200,50;31/12/2025\n7;01/02/2026\n")
    frame = load_version(objects, imported.stored.key)
    assert frame["price"].tolist() == [1200.5, 7.0]
    assert [str(day.date()) for day in frame["day"]] == ["2025-12-31", "2026-02-01"]
