"""The selection slice: grouped, stratified, never the same row on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from services.training.splits import FEW, cut


def rows_of(rows: int, classes: int = 2, copies: int = 1, seed: int = 0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(rng.integers(0, 2**63, rows // copies, dtype=np.uint64), copies)
    labels = np.repeat((rng.random(rows // copies) ** 3 * classes).astype(int), copies)
    return np.eye(classes, dtype=np.float32)[labels], groups


@pytest.mark.parametrize("rows", [40, 500, 3000])
def test_duplicates_are_never_on_both_sides(rows):
    targets, groups = rows_of(rows, copies=2)
    for split in cut(targets, groups):
        assert not set(groups[split.train]) & set(groups[split.held])
        assert sorted([*split.train, *split.held]) == list(range(rows))


def test_many_rows_give_one_slice_of_15_percent_with_every_class_in_its_share():
    targets, groups = rows_of(4000, classes=4)
    (split,) = cut(targets, groups)
    assert len(split.held) / 4000 == pytest.approx(0.15, abs=0.005)
    assert np.abs(targets[split.held].mean(axis=0) - targets.mean(axis=0)).max() < 0.01


def test_classes_of_three_different_rows_are_chosen_on_by_folds_however_many_rows_there_are():
    groups = np.repeat(np.arange(3 * 250, dtype=np.uint64) * 7919, 4)
    targets = np.eye(250, dtype=np.float32)[np.repeat(np.arange(250), 12)]
    splits = cut(targets, groups)
    assert len(splits) == 3 and all(len(split.held) and len(split.train) for split in splits)


def test_few_rows_give_five_folds_that_hold_every_row_once():
    targets, groups = rows_of(FEW - 1)
    splits = cut(targets, groups)
    assert len(splits) == 5
    assert sorted(np.concatenate([s.held for s in splits])) == list(range(FEW - 1))


def test_twenty_gold_rows_can_be_chosen_on_and_nine_cannot():
    assert len(cut(*rows_of(20))) == 5
    assert cut(*rows_of(9)) == []


def test_twenty_copies_of_one_row_are_too_few():
    targets, groups = rows_of(20, copies=20)
    assert cut(targets, groups) == []
