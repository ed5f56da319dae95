from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.labeling.aggregation.dawid_skene import dawid_skene, sharpened
from services.labeling.aggregation.majority import majority, soft_majority
from services.labeling.aggregation.votes import Voter, patterns_of, votes_from_matrix, votes_of


def voters(count, *, reads=True):
    return [Voter(name=str(i), reads_every_row=reads) for i in range(count)]


def simulated(seed, *, rows=2000, classes=3, accuracies=(0.9, 0.8, 0.75, 0.7, 0.5), reads=0.6):
    """Votes of independent labelers; labeler j is right with its accuracy on the rows that it votes on."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    matrix = np.full((rows, len(accuracies)), -1)
    for j, accuracy in enumerate(accuracies):
        votes = rng.random(rows) < reads
        right = rng.random(rows) < accuracy
        wrong = (truth + rng.integers(1, classes, rows)) % classes
        matrix[votes, j] = np.where(right, truth, wrong)[votes]
    return matrix, truth


def fitted(matrix, classes, gold=None, *, reads=True):
    votes = votes_from_matrix(matrix, classes, voters(matrix.shape[1], reads=reads))
    patterns = patterns_of(votes, np.full(len(matrix), -1) if gold is None else gold)
    return dawid_skene(patterns, votes.voters, classes).posterior[patterns.inverse], patterns


def plain_dawid_skene(matrix, classes, rounds=100):
    """The same model, row by row, without patterns or sparsity: the formulas of the module's docstring as loops."""
    rows, labelers = matrix.shape
    q = np.zeros((rows, classes))
    for row in range(rows):
        counts = np.array([(matrix[row] == y).sum() for y in range(classes)], dtype=float)
        q[row] = counts / counts.sum() if counts.sum() else 1 / classes
    rate = ((matrix >= 0).sum(axis=0) + 0.5) / (rows + 1)
    for _ in range(rounds):
        log_q = np.zeros((rows, classes))
        for j in range(labelers):
            strength = 100 + 0.1 * (matrix[:, j] >= 0).sum()
            for y in range(classes):
                given = q[matrix[:, j] >= 0, y].sum()
                fires = (given + rows * rate[j]) / (q[:, y].sum() + rows)
                for row in range(rows):
                    said = matrix[row, j]
                    if said < 0:
                        log_q[row, y] += np.log(1 - fires)
                        continue
                    prior = strength * (0.7 if said == y else 0.3 / (classes - 1))
                    log_q[row, y] += np.log(fires * (q[matrix[:, j] == said, y].sum() + prior) / (given + strength))
        q = np.exp(log_q - log_q.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
    return q


def test_it_computes_the_posterior_of_the_formulas():
    matrix, _ = simulated(0, rows=60, classes=3, accuracies=(0.9, 0.7, 0.6))
    posterior, _ = fitted(matrix, 3)
    np.testing.assert_allclose(posterior, plain_dawid_skene(matrix, 3), atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_it_beats_majority_where_labelers_differ_in_accuracy(seed):
    matrix, truth = simulated(seed, accuracies=(0.95, 0.9, 0.5, 0.45, 0.4, 0.4, 0.35))
    posterior, patterns = fitted(matrix, 3, reads=False)
    counted = majority(patterns, 3)[patterns.inverse]
    assert (posterior.argmax(1) == truth).mean() > (counted.argmax(1) == truth).mean() + 0.05


def test_it_doesnt_collapse_on_labelers_that_vote_for_one_class_only():
    rng = np.random.default_rng(1)
    truth = (rng.random(3000) < 0.3).astype(int)
    matrix = np.full((3000, 6), -1)
    for j in range(6):
        cls = j % 2
        fires = rng.random(3000) < np.where(truth == cls, 0.4, 0.06)
        matrix[fires, j] = cls
    posterior, _ = fitted(matrix, 2)
    covered = (matrix >= 0).any(axis=1)
    assert (posterior[covered].argmax(1) == truth[covered]).mean() > 0.85


def test_gold_rows_teach_that_a_labeler_is_wrong():
    """Two labelers always contradict each other; votes alone can't tell which one is right."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 1000)
    noisy = np.where(rng.random(1000) < 0.9, truth, 1 - truth)
    matrix = np.stack([noisy, 1 - noisy], axis=1)
    gold = np.full(1000, -1)
    gold[:40] = truth[:40]
    posterior, _ = fitted(matrix, 2, gold)
    assert (posterior[40:].argmax(1) == noisy[40:]).mean() > 0.99


def test_silence_tells_nothing_of_labelers_that_dont_read_every_row():
    matrix = np.array([[0, 0, -1]] * 50 + [[1, 1, 1]] * 50 + [[-1, -1, -1]])
    posterior, _ = fitted(matrix, 2, reads=False)
    assert posterior[-1] == pytest.approx([0.5, 0.5])
    assert fitted(matrix, 2)[0][-1, 0] > 0.55, "a program's silence is like the rows where it is silent"


def test_a_vote_against_a_class_speaks_for_the_others():
    votes = votes_of(
        rows=2, classes=3, voters=voters(2, reads=False), row=[0, 0, 1], voter=[0, 1, 0], cls=[0, 1, 2],
        against=[True, True, False],
    )  # fmt: skip
    patterns = patterns_of(votes, np.full(2, -1))
    assert soft_majority(patterns, 3)[patterns.inverse[0]] == pytest.approx([0.25, 0.25, 0.5])
    posterior = dawid_skene(patterns, votes.voters, 3).posterior[patterns.inverse]
    assert posterior[0].argmax() == 2
    assert posterior[1].argmax() == 2


def test_a_less_confident_vote_moves_the_posterior_less():
    votes = votes_of(rows=2, classes=2, voters=voters(1, reads=False), row=[0, 1], voter=[0, 0], cls=[1, 1], weight=[1.0, 0.25])
    patterns = patterns_of(votes, np.full(2, -1))
    posterior = dawid_skene(patterns, votes.voters, 2).posterior[patterns.inverse]
    assert 0.5 < posterior[1, 1] < posterior[0, 1]


def test_labelers_may_be_renamed_and_rows_reordered_without_effect():
    matrix, _ = simulated(3, rows=300)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(fitted(matrix, 3)[0][order], fitted(matrix[order][:, ::-1], 3)[0], atol=1e-9)


@given(st.integers(1, 4), st.integers(2, 4), st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_posterior_is_a_distribution(labelers, classes, rows, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, classes, (rows, labelers))
    gold = np.where(rng.random(rows) < 0.2, rng.integers(0, classes, rows), -1)
    posterior, patterns = fitted(matrix, classes, gold)
    assert np.isfinite(posterior).all()
    assert posterior.sum(axis=1) == pytest.approx(np.ones(rows))
    assert sharpened(posterior).sum(axis=1) == pytest.approx(np.ones(rows))
    assert majority(patterns, classes).sum(axis=1) == pytest.approx(np.ones(len(patterns)))


def test_rows_alike_share_a_pattern_and_others_dont():
    votes = votes_of(
        rows=5, classes=2, voters=voters(2), row=[0, 0, 1, 1, 2, 3], voter=[0, 1, 1, 0, 0, 0], cls=[1, 0, 0, 1, 1, 1],
        weight=[1, 1, 1, 1, 1, 0.5],
    )  # fmt: skip
    patterns = patterns_of(votes, np.array([-1, -1, -1, -1, -1]))
    assert patterns.inverse[0] == patterns.inverse[1]
    assert len(set(patterns.inverse.tolist())) == 4
    assert patterns.count.sum() == 5


def test_a_tie_is_shared_whatever_the_order_of_the_weights():
    votes = votes_of(
        rows=1, classes=3, voters=voters(6), row=[0] * 6, voter=range(6), cls=[0, 0, 0, 1, 1, 1],
        weight=[0.1, 0.2, 0.3, 0.3, 0.2, 0.1],
    )  # fmt: skip
    assert majority(patterns_of(votes, np.array([-1])), 3)[0] == pytest.approx([0.5, 0.5, 0])


def test_fifty_thousand_rows_of_fifty_labelers_take_seconds():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 50_000)
    pairs = np.unique(rng.integers(0, 50_000 * 50, 250_000))
    row, voter = pairs // 50, pairs % 50
    cls = np.where(rng.random(len(pairs)) < 0.75, truth[row], 1 - truth[row])
    votes = votes_of(rows=50_000, classes=2, voters=voters(50), row=row, voter=voter, cls=cls)
    began = time.perf_counter()
    patterns = patterns_of(votes, np.full(50_000, -1))
    posterior = dawid_skene(patterns, votes.voters, 2).posterior[patterns.inverse]
    assert time.perf_counter() - began < 10
    assert (posterior.argmax(1) == truth).mean() > 0.85
