from __future__ import annotations

import numpy as np
import pytest

from services.labeling.aggregation.choice import Method
from services.labeling.aggregation.multi_label import aggregate_classes
from services.labeling.aggregation.votes import NO_CLASS, Gold, Voter, no_gold, votes_of


def voters(count):
    return [Voter(name=str(i), reads_every_row=True) for i in range(count)]


def test_each_class_is_decided_by_itself():
    votes = votes_of(
        rows=3, classes=3, voters=voters(2), row=[0, 0, 1, 2], voter=[0, 1, 0, 0], cls=[0, 2, 1, 1],
        against=[False, False, False, True],
    )  # fmt: skip
    found = aggregate_classes(votes, no_gold(3), Method.MAJORITY, np.arange(3))
    assert found.probabilities.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_complete_answer_says_no_to_what_it_leaves_out():
    votes = votes_of(
        rows=2, classes=2, voters=voters(2), row=[0, 0, 1], voter=[0, 1, 1], cls=[0, 1, NO_CLASS], complete=[True, False, True]
    )
    found = aggregate_classes(votes, no_gold(2), Method.SOFT_MAJORITY, np.arange(2))
    assert found.probabilities.tolist() == [[1, 0.5], [0, 0]], "row 0, class 1: one yes, and one no by omission"
    assert found.conflict.tolist() == [True, False]
    assert found.contradicted.tolist() == [1, 1]


def test_dawid_skene_class_by_class_is_no_worse_than_counting():
    rng = np.random.default_rng(0)
    truth = rng.random((2000, 4)) < [0.1, 0.2, 0.3, 0.4]
    row, voter, cls, complete = [], [], [], []
    for j, accuracy in enumerate((0.95, 0.75, 0.7, 0.65)):
        said = np.where(rng.random(truth.shape) < accuracy, truth, ~truth)
        for r, names in enumerate(said):
            chosen = np.flatnonzero(names) if names.any() else [NO_CLASS]
            row += [r] * len(chosen)
            voter += [j] * len(chosen)
            cls += list(chosen)
            complete += [True] * len(chosen)
    votes = votes_of(rows=2000, classes=4, voters=voters(4), row=row, voter=voter, cls=cls, complete=complete)
    right = {}
    for method in (Method.MAJORITY, Method.AUTOMATIC):
        found = aggregate_classes(votes, no_gold(4), method, np.arange(2000))
        right[found.method] = ((found.probabilities >= 0.5) == truth).mean()
    assert right[Method.DAWID_SKENE] > right[Method.MAJORITY] + 0.05


def test_keyword_like_labelers_leave_most_classes_at_no():
    rng = np.random.default_rng(0)
    truth = rng.random((1500, 3)) < 0.15
    row, voter, cls = [], [], []
    for j in range(6):
        fires = rng.random(1500) < np.where(truth[:, j % 3], 0.6, 0.03)
        row += np.flatnonzero(fires).tolist()
        voter += [j] * fires.sum()
        cls += [j % 3] * fires.sum()
    votes = votes_of(rows=1500, classes=3, voters=voters(6), row=row, voter=voter, cls=cls)
    covered = np.flatnonzero(votes.covered())
    for method in (Method.MAJORITY, Method.AUTOMATIC):
        found = aggregate_classes(votes, no_gold(3), method, covered)
        assert ((found.probabilities >= 0.5) == truth[covered]).mean() > 0.8


def test_gold_teaches_and_is_told_blind():
    rng = np.random.default_rng(0)
    truth = rng.random((400, 2)) < 0.5
    row, cls = np.nonzero(truth)
    votes = votes_of(rows=400, classes=2, voters=voters(1), row=row, voter=np.zeros(len(row)), cls=cls)
    gold = Gold(rows=np.arange(100), members=truth[:100], estimates=np.ones(100, dtype=bool))
    found = aggregate_classes(votes, gold, Method.DAWID_SKENE, np.arange(400))
    assert ((found.held_out >= 0.5) == truth[:100]).mean() > 0.95
    assert found.learned is not None
    assert found.learned[0] == pytest.approx(1, abs=0.05)


def test_a_class_that_no_vote_names_stays_at_zero():
    votes = votes_of(rows=2, classes=1000, voters=voters(1), row=[0], voter=[0], cls=[7])
    found = aggregate_classes(votes, no_gold(1000), Method.AUTOMATIC, np.array([0]))
    assert found.probabilities[0].nonzero()[0].tolist() == [7]
