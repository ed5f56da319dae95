"""Rows as users have them: read the way import reads files, with warnings instead of failures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.common.bundle.values import (
    DATE_FORMATS,
    FALSE_WORDS,
    MISSING_WORDS,
    MOST_CHARACTERS,
    TRUE_WORDS,
    Input,
    category_of,
    moment_of,
    number_of,
    read_cells,
    read_rows,
    text_of,
)
from services.common.errors import InvalidField


def test_serving_knows_the_same_words_as_import():
    casting = pytest.importorskip("services.common.frames.casting")
    assert set(casting.MISSING_WORDS) | {""} == MISSING_WORDS
    assert set(casting.TRUE_WORDS) == TRUE_WORDS
    assert set(casting.FALSE_WORDS) == FALSE_WORDS
    assert casting.DATE_STYLES == DATE_FORMATS


@pytest.mark.parametrize(
    ("cell", "number"),
    [(3, 3.0), (True, 1.0), (" 3.5 ", 3.5), ("1,234.5", 1234.5), ("-1e3", -1000.0), (".5", 0.5), ("7.", 7.0)],
)
def test_a_number_is_read_also_from_a_string(cell, number):
    assert number_of(cell) == number


@pytest.mark.parametrize("cell", [None, "", "NA", " null ", float("nan"), float("inf"), "-"])
def test_a_missing_number_is_none(cell):
    assert number_of(cell) is None


@pytest.mark.parametrize("cell", ["abc", "12abc", [1], {"a": 1}, "1.2.3", "."])
def test_what_is_no_number_is_refused_with_its_row_and_column(cell):
    with pytest.raises(InvalidField, match=r"rows\[1\]\.age: .* is not a number"):
        read_rows([{"age": 1}, {"age": cell}], [Input(name="age", kind="numeric")])


def test_a_message_quotes_what_was_sent_as_json():
    with pytest.raises(InvalidField, match=r'rows\[0\]\.age: \{"a": 1\} is not a number'):
        read_rows([{"age": {"a": 1.0}}], [Input(name="age", kind="numeric")])
    with pytest.raises(InvalidField, match=r"true is not a point in time"):
        read_rows([{"when": True}], [Input(name="when", kind="datetime")])


@pytest.mark.parametrize("missing_seen", [True, False])
@pytest.mark.parametrize("kind", ["numeric", "datetime"])
def test_an_infinite_number_is_told_as_such_and_taken_as_unknown(kind, missing_seen):
    column = Input(name="n", kind=kind, missing_seen=missing_seen)
    told = "is infinite, and no finite number; the model takes it as unknown."
    for values, warnings in (
        read_rows([{"n": math.inf}, {"n": -math.inf}, {"n": 1.0}], [column]),
        read_cells({"n": [math.inf, -math.inf, 1.0]}, 3, [column]),
    ):
        assert np.isnan(values["n"]).tolist() == [True, True, False]
        assert [[one.problem for one in row] for row in warnings] == [[told], [told], []]


def test_a_decimal_comma_is_read_where_the_source_had_one():
    assert number_of("1.234,5", "decimal_comma") == 1234.5
    assert number_of("12,5", "decimal_comma") == 12.5
    assert number_of("12.5", "decimal_comma") == 12.5


def test_whole_numbers_and_booleans_are_one_category_however_they_are_spelled():
    assert {category_of(cell) for cell in (3, 3.0, "3", "3.0", " 3 ")} == {"3"}
    assert {category_of(cell) for cell in (True, "True", "TRUE", "true")} == {"true"}
    assert category_of("3.5") == "3.5"


@pytest.mark.parametrize(
    "cell",
    [
        "2016-03-27T00:53:00Z",
        "2016-03-27 00:53",
        "3/27/16 0:53",
        "27-Mar-2016 12:53 AM",
        "27/03/2016 00:53",
        "20160327T0053",
        "2016-03-27T02:53:00+02:00",
        1459039980,
    ],
)
def test_a_moment_is_read_from_iso_common_spellings_and_seconds(cell):
    assert moment_of(cell) == 1459039980.0


def test_the_sources_own_spelling_of_dates_wins_over_the_common_ones():
    assert moment_of("05/03/2016") == moment_of("2016-05-03")
    assert moment_of("05/03/2016", "%d/%m/%Y") == moment_of("2016-03-05")


def test_a_moment_too_far_away_is_taken_as_missing():
    assert moment_of(1e18) is None


def test_blank_text_is_missing_and_five_megabytes_are_cut():
    assert text_of(" \n ") is None
    assert len(text_of("x" * 5_000_000) or "") == MOST_CHARACTERS
    assert text_of("null \x00 byte 😀") == "null \x00 byte 😀"


def test_missing_and_absent_values_are_told_unless_training_saw_missing_ones():
    inputs = [Input(name="a", kind="numeric"), Input(name="b", kind="text", missing_seen=True)]
    columns, warnings = read_rows([{"a": None, "b": None}, {}, {"a": "1", "b": "x"}], inputs)
    assert [[w.field for w in row] for row in warnings] == [["a"], ["a", "b"], []]
    assert "no value" in warnings[0][0].problem
    assert "not in the row" in warnings[1][0].problem
    assert math.isnan(np.asarray(columns["a"])[1]) and columns["b"] == [None, None, "x"]


def test_rows_that_come_column_by_column_are_read_as_rows_are():
    inputs = [Input(name="text", kind="text"), Input(name="age", kind="numeric"), Input(name="vip", kind="boolean")]
    rows = [{"text": "a", "age": 3.0}, {"text": " ", "age": None}]
    cells = {"text": ["a", " "], "age": [3.0, None]}
    (by_row, told), (by_column, told_too) = read_rows(rows, inputs), read_cells(cells, 2, inputs)
    assert by_row["text"] == by_column["text"] == ["a", None]
    for name in ("age", "vip"):
        np.testing.assert_array_equal(by_row[name], by_column[name])
    assert told == told_too
    with pytest.raises(InvalidField, match=r"age\[1\]: 'old' is not a number"):
        read_cells({"age": [3.0, "old"]}, 2, inputs)
