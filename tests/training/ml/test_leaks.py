"""Columns that give the label away are told; honest ones and free text aren't."""

from __future__ import annotations

import numpy as np

from services.training.leaks import leaks


def test_a_rating_that_gives_a_recommendation_away_is_told_and_a_weak_column_is_not():
    rng = np.random.default_rng(0)
    recommended = rng.random(1000) < 0.8
    rating = np.where(recommended, rng.choice([4.0, 5.0], 1000), rng.choice([1.0, 2.0, 3.0], 1000))
    age = rng.normal(40 + 3 * recommended, 10)
    code = [f"r{int(r)}" for r in rating]
    columns = {"rating": rating, "age": age, "code": code, "text": code}
    kinds = {"rating": "numeric", "age": "numeric", "code": "categorical", "text": "text"}
    truth = np.stack([~recommended, recommended], axis=1)
    found = leaks(columns, kinds, truth, rng.integers(0, 2**63, 1000, dtype=np.uint64))
    assert {leak.column for leak in found} == {"rating", "code"}
    assert all(leak.auc > 0.97 for leak in found) and "gives the label away" in found[0].sentence


def test_an_id_doesnt_look_like_a_leak():
    rng = np.random.default_rng(1)
    truth = np.stack([np.arange(300) % 2 == 0, np.arange(300) % 2 == 1], axis=1)
    columns = {"id": [f"u{i}" for i in range(300)], "number": rng.permutation(300).astype(float)}
    kinds = {"id": "categorical", "number": "numeric"}
    assert leaks(columns, kinds, truth, rng.integers(0, 2**63, 300, dtype=np.uint64)) == []


def test_missing_values_that_tell_the_label_are_a_leak():
    labels = np.arange(400) % 2
    truth = np.stack([labels == 0, labels == 1], axis=1)
    values = np.where(labels == 1, np.nan, np.arange(400) % 7)
    groups = np.random.default_rng(2).integers(0, 2**63, 400, dtype=np.uint64)
    assert [leak.column for leak in leaks({"refund": values}, {"refund": "numeric"}, truth, groups)] == ["refund"]
