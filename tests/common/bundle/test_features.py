"""Featurizers: the same features in training and serving, row by row and all at once."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.bundle.decision import Decision
from services.common.bundle.table import Category, Moment, Number, Table, cycle_position
from services.common.bundle.terms import Ragged, Terms, analyze, join_texts
from services.common.bundle.tokens import Vocabulary
from services.common.bundle.values import Warning


def some_terms() -> Terms:
    return Terms(terms=("good", "bad", "good dress", "~ go"), weights=np.array([1.0, 2.0, 3.0, 1.5]), sizes=(3, 3))


def test_terms_are_weighted_and_each_row_has_length_one():
    rows = some_terms().transform(["Good good dress", "bad", "", None, "unknown"])
    assert list(np.diff(rows.starts)) == [3, 1, 0, 0, 0]
    assert np.linalg.norm(rows.values[:3]) == pytest.approx(1.0)
    by_term = dict(zip(rows.indices[:3].tolist(), rows.values[:3].tolist(), strict=True))
    doubled = 1 + np.log(2)
    assert by_term[0] / by_term[2] == pytest.approx(doubled * 1.0 / 3.0)


def test_a_row_alone_has_exactly_the_features_that_it_has_among_others():
    texts = [f"good bad {'good dress ' * i}" for i in range(20)] + [""]
    together = some_terms().transform(texts)
    for i, text in enumerate(texts):
        alone, row = some_terms().transform([text]), together.take(np.array([i]))
        assert np.array_equal(alone.indices, row.indices) and np.array_equal(alone.values, row.values)


def test_a_text_has_the_terms_that_analyze_finds_also_when_its_words_came_before():
    terms = Terms(terms=tuple(dict.fromkeys(analyze("good goods, good dress!", (3, 4)))), weights=np.ones(80), sizes=(3, 4))
    for text in ["good goods", "new goods", "good goods", "a" * 1_000 + " good", ""]:
        expected = [term for term in analyze(text, (3, 4)) if term in terms.numbers]
        row = terms.transform([text])
        assert row.indices.tolist() == [terms.numbers[term] for term in dict.fromkeys(expected)]
        assert all(len(word) < 1_000 for word in terms.pieces)


def test_padding_has_no_weight():
    index, value = some_terms().transform(["good bad", "", "good"]).padded()
    assert index.shape == value.shape and value[1].sum() == 0 and (value[2, 2:] == 0).all()
    empty, _ = Ragged(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)).padded()
    assert empty.shape == (0, 1)


def test_terms_survive_json_with_emoji_and_quotes():
    terms = Terms(terms=('"', "😀", "né"), weights=np.array([0.1, 1 / 3, 2.0]))
    again = Terms.from_json(terms.to_json())
    assert again.terms == terms.terms and np.array_equal(again.weights, terms.weights) and again.sizes == (0, 0)


def test_character_terms_never_meet_word_terms():
    found = list(analyze("go", (3, 3)))
    assert found == ["go", "~ go", "~go "]


def test_texts_are_joined_in_order_and_missing_ones_left_out():
    assert join_texts([["a", None, None], ["b", "c", None]]) == ["a \n b", "c", ""]


def test_words_are_numbered_padded_and_cut():
    vocabulary = Vocabulary(known=("good", "dress"), longest=3)
    assert vocabulary.transform(["good new dress good", "", None]).tolist() == [[2, 1, 3], [1, 0, 0], [1, 0, 0]]
    assert Vocabulary.from_json(vocabulary.to_json()).numbers == vocabulary.numbers


def a_table() -> Table:
    return Table(
        numbers=(Number(name="age", center=40.0, scale=0.1, indicator=True),),
        moments=(Moment(name="at", center=0.0, scale=1e-9, cycles=("hour", "weekday")),),
        categories=(Category(name="town", values=("Rome", "Oslo"), rare=("Bern",), other=True),),
    )


def test_a_table_row_is_scaled_clipped_and_one_hot():
    columns = {"age": np.array([50.0, np.nan, 1e9]), "at": np.array([0.0, np.nan, 43200.0]), "town": ["Oslo", None, "Lima"]}
    matrix = a_table().transform(columns, 3)
    names = a_table().names()
    assert matrix.shape == (3, len(names)) and not np.isnan(matrix).any()
    row = [dict(zip(names, values.tolist(), strict=True)) for values in matrix]
    assert row[0]["age"] == pytest.approx(1 / np.sqrt(1 + 1 / 9)) and row[0]["age is missing"] == 0
    assert row[1]["age"] == 0 and row[1]["age is missing"] == 1
    assert row[2]["age"] == pytest.approx(3.0, abs=1e-3)
    assert row[0]["at hour cosine"] == pytest.approx(1) and row[2]["at hour cosine"] == pytest.approx(-1)
    assert row[0]["town = Oslo"] == 1 and row[2]["town = (another value)"] == 1
    assert sum(row[1][n] for n in names if n.startswith("town")) == 0


def test_a_table_row_alone_is_exactly_what_it_is_among_others():
    random = np.random.default_rng(0)
    rows = 5_000  # more than one chunk
    columns = {
        "age": np.where(random.random(rows) < 0.2, np.nan, random.normal(40, 30, rows)),
        "size": random.normal(0, 1, rows),
        "at": np.where(random.random(rows) < 0.2, np.nan, random.uniform(-2e9, 4e9, rows)),
        "seen": random.uniform(0, 2e9, rows),
        "town": random.choice(np.array(["Rome", "Oslo", "Lima", None], dtype=object), rows).tolist(),
        "color": random.choice(np.array(["red", "blue", None], dtype=object), rows).tolist(),
    }
    table = Table(
        numbers=(Number(name="age", center=40.0, scale=0.1, indicator=True), Number(name="size", center=0.5, scale=0.3)),
        moments=(
            Moment(name="at", center=1e9, scale=1e-9, cycles=("hour", "month"), indicator=True),
            Moment(name="seen", center=1e9, scale=1e-9, cycles=("weekday", "month")),
        ),
        categories=(
            Category(name="town", values=("Rome", "Oslo"), rare=("Bern",), other=True),
            Category(name="color", values=("red",), missing=True),
        ),
    )
    together = table.transform(columns, rows)
    assert together.shape[1] == len(table.names()) and not np.isnan(together).any()
    for i in (0, 1, 2, 3, 4095, 4096, rows - 1):
        alone = table.transform({name: values[i : i + 1] for name, values in columns.items()}, 1)
        assert np.array_equal(alone[0], together[i])


def test_each_cycle_stands_under_its_own_name():
    both = Moment(name="at", center=0.0, scale=1e-9, cycles=("weekday", "hour"), indicator=True)
    table = Table(moments=(Moment(name="first", center=0.0, scale=1e-9, cycles=("hour",)), both))
    noon_on_sunday = np.array([3 * 86_400.0 + 43_200.0])
    row = dict(zip(table.names(), table.transform({"first": np.zeros(1), "at": noon_on_sunday}, 1)[0].tolist(), strict=True))
    assert row["first hour cosine"] == pytest.approx(1) and row["at hour cosine"] == pytest.approx(-1)
    assert row["at weekday sine"] == pytest.approx(np.sin(2 * np.pi * 6 / 7)) and row["at is missing"] == 0


def test_only_values_that_training_never_saw_are_told():
    warnings: list[list[Warning]] = [[], [], [], []]
    a_table().unseen({"town": ["Rome", "Bern", "Lima", None]}, warnings)
    assert [len(row) for row in warnings] == [0, 0, 1, 0]


def test_a_table_survives_json():
    assert Table.from_json(a_table().to_json()) == a_table()


def test_cycles_are_those_of_the_calendar():
    seconds = np.array([1709164800.0, np.nan])  # Thursday, 29 February 2024, 00:00 UTC
    assert cycle_position(seconds, "weekday")[0] == 3 and cycle_position(seconds, "month")[0] == 1
    assert cycle_position(seconds, "hour")[0] == 0 and np.isnan(cycle_position(seconds, "month")[1])


def test_heads_are_mixed_by_probability_and_cooled_by_temperature():
    logits = np.array([[[0.0, 2.0], [1.0, 0.0]]], dtype=np.float32)
    one = Decision(weights=(0.0, 1.0)).probabilities(logits, multi_label=False)
    assert one[0, 0] == pytest.approx(np.e / (1 + np.e))
    mean = Decision(weights=(0.5, 0.5)).probabilities(logits, multi_label=False)
    assert mean[0, 0] == pytest.approx((1 / (1 + np.e**2) + np.e / (1 + np.e)) / 2)
    cooler = Decision(weights=(0.0, 1.0), temperature=2.0).probabilities(logits, multi_label=False)
    assert 0.5 < cooler[0, 0] < one[0, 0]


def test_extreme_logits_stay_probabilities():
    logits = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], dtype=np.float32)
    for multi_label in (False, True):
        p = Decision(weights=(1.0,)).probabilities(logits, multi_label)
        assert np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1
