from __future__ import annotations

import numpy as np
import pytest

from services.labeling.aggregation import choice
from services.labeling.aggregation.choice import Method, aggregate
from services.labeling.aggregation.votes import Gold, Voter, no_gold, patterns_of, votes_from_matrix, votes_of


def voters(count, **more):
    return [Voter(name=str(i), reads_every_row=True, **more) for i in range(count)]


def gold_of(rows, classes, k=2, *, estimates=True):
    return Gold(rows=np.array(rows), members=np.eye(k, dtype=bool)[np.array(classes)], estimates=np.full(len(rows), estimates))


def noisy(seed, accuracies, rows=800, k=2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, rows)
    columns = [np.where(rng.random(rows) < a, truth, (truth + rng.integers(1, k, rows)) % k) for a in accuracies]
    return np.stack(columns, axis=1), truth


def test_without_overlap_nothing_can_be_learned_so_votes_are_counted():
    matrix = np.array([[0, -1], [-1, 1], [1, -1], [-1, -1]])
    found = aggregate(votes_from_matrix(matrix, 2, voters(2)), no_gold(2), Method.AUTOMATIC)
    assert found.method is Method.MAJORITY
    assert found.cases[found.case_of].tolist() == [[1, 0], [0, 1], [0, 1], [0.5, 0.5]]
    assert found.notes == ()


def test_with_overlap_dawid_skene_is_used_and_tells_accuracies():
    matrix, _ = noisy(0, (0.95, 0.8, 0.6))
    found = aggregate(votes_from_matrix(matrix, 2, voters(3)), no_gold(2), Method.AUTOMATIC)
    assert found.method is Method.DAWID_SKENE
    assert found.learned is not None
    assert found.learned[0] > found.learned[1] > found.learned[2]
    assert found.learned[0] == pytest.approx(0.93, abs=0.05)


def test_a_model_that_gives_up_a_class_is_left_for_majority(monkeypatch: pytest.MonkeyPatch):
    matrix, _ = noisy(0, (0.9, 0.8, 0.8))
    votes = votes_from_matrix(matrix, 2, voters(3))
    patterns = patterns_of(votes, np.full(len(matrix), -1))
    collapsed = np.tile([0.9, 0.1], (len(patterns), 1))
    assert "giving up 1 of 2 classes" in str(choice._collapse(patterns, collapsed, 2))

    fit = choice.dawid_skene(patterns, votes.voters, 2)
    monkeypatch.setattr(choice, "dawid_skene", lambda *a, **k: type(fit)(posterior=collapsed, iterations=1, converged=True))
    found = aggregate(votes, no_gold(2), Method.DAWID_SKENE)
    assert found.method is Method.MAJORITY
    assert "Dawid-Skene was left for majority: it collapsed" in found.notes[0]


def test_a_model_that_contradicts_the_votes_is_left_for_majority():
    patterns = patterns_of(votes_from_matrix(np.array([[0, 0]] * 30 + [[1, 1]] * 30), 2, voters(2)), np.full(60, -1))
    flipped = choice.majority(patterns, 2)[:, ::-1]
    assert "contradicts the votes on 100%" in str(choice._collapse(patterns, flipped, 2))


def test_a_model_that_loses_on_gold_it_didnt_see_is_left_for_majority():
    """Three copies of one bad labeler look like agreement, and nine independent mediocre ones are outvoted by them."""
    rng = np.random.default_rng(5)
    good, truth = noisy(5, (0.75,) * 3, rows=3000)
    bad = np.where(rng.random(3000) < 0.55, truth, 1 - truth)
    matrix = np.column_stack([good, bad, bad])
    rows = np.arange(0, 3000, 2)
    votes = votes_from_matrix(matrix, 2, voters(5))
    gold = gold_of(rows, truth[rows])
    labels = no_gold(2)
    modelled = choice._modelled(votes, labels, patterns_of(votes, np.full(3000, -1)), None)
    counted = choice._counted(votes, labels, Method.MAJORITY, None)
    told = modelled.cases[modelled.case_of[rows]], counted.cases[counted.case_of[rows]]
    problem = choice._loss(gold, *told, votes)
    right = [choice.credit(p, gold.members).mean() for p in told]
    assert (problem is not None) == (right[0] < right[1] - 0.02)
    assert choice._loss(gold, told[1], told[1], votes) is None
    assert "majority on" in str(choice._loss(gold, 1 - told[1], told[1], votes))
    picked = gold_of(rows, truth[rows], estimates=False)
    assert choice._loss(picked, 1 - told[1], told[1], votes) is None, "rows that somebody picked estimate nothing"


def test_gold_may_show_that_most_votes_are_wrong():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 1000)
    matrix = np.stack([np.where(rng.random(1000) < 0.2, truth, 1 - truth) for _ in range(3)], axis=1)
    votes = votes_from_matrix(matrix, 2, voters(3))
    found = aggregate(votes, gold_of(range(0, 200), truth[:200]), Method.AUTOMATIC)
    assert found.method is Method.DAWID_SKENE
    assert (found.cases[found.case_of].argmax(1) == truth)[200:].mean() > 0.85
    untold = aggregate(votes, no_gold(2), Method.AUTOMATIC)
    assert (untold.cases[untold.case_of].argmax(1) == truth).mean() < 0.15, "votes alone can't show it"


def test_too_many_classes_are_counted_with_a_note():
    classes, rows = 10_000, 300
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, classes, (rows, 3))
    found = aggregate(votes_from_matrix(matrix, classes, voters(3)), no_gold(classes), Method.DAWID_SKENE)
    assert found.method is Method.MAJORITY
    assert "10,000 classes are too many" in found.notes[0]
    assert found.cases.shape[1] == classes


def test_many_feedback_ids_on_a_row_weigh_no_more_than_one_vote():
    voter = [*voters(2), *(Voter(name=f"app{i}", reads_every_row=False, capped=True) for i in range(50))]
    row = [0, 0, *[0] * 50]
    votes = votes_of(rows=1, classes=2, voters=voter, row=row, voter=range(52), cls=[0, 0, *[1] * 50])
    found = aggregate(votes, no_gold(2), Method.MAJORITY)
    assert found.cases[found.case_of[0]].tolist() == [1, 0]


def test_a_feedback_source_that_guesses_loses_its_say():
    rng = np.random.default_rng(0)
    good, truth = noisy(0, (0.95, 0.95), rows=600)
    liar = np.where(rng.random(600) < 0.1, truth, 1 - truth)
    lonely = np.full((20, 3), -1)
    lonely[:, 2] = 1
    matrix = np.vstack([np.column_stack([good, liar]), lonely])
    voter = [*voters(2), Voter(name="app", reads_every_row=False, capped=True)]
    votes = votes_from_matrix(matrix, 2, voter)
    counted = aggregate(votes, no_gold(2), Method.SOFT_MAJORITY)
    assert counted.cases[counted.case_of[-1]].tolist() == [0.5, 0.5]
    modelled = aggregate(votes, no_gold(2), Method.DAWID_SKENE)
    assert modelled.learned is not None
    assert modelled.learned[2] < 0.3


def test_no_votes_and_no_rows_are_no_error():
    for rows in (0, 3):
        votes = votes_of(rows=rows, classes=2, voters=[], row=[], voter=[], cls=[])
        for method in Method:
            found = aggregate(votes, no_gold(2), method)
            assert found.cases[found.case_of].shape == (rows, 2)


def test_held_out_gold_is_told_by_a_model_that_didnt_see_it():
    """One labeler without a second: gold alone teaches it. What is told of a gold row must not be that row's own label."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    matrix = np.column_stack([rng.integers(0, 2, 200), rng.integers(0, 2, 200)])
    found = aggregate(votes_from_matrix(matrix, 2, voters(2)), gold_of(range(200), truth), Method.DAWID_SKENE)
    assert (found.held_out.argmax(1) == truth).mean() < 0.65
