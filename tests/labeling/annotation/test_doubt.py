"""The quick model behind margin sampling: learns from a handful of answers, and is in doubt where it should be."""

import numpy as np
import pytest

from services.common.frames.kinds import Kind
from services.labeling.annotation.doubt import QuickModel, explain
from services.labeling.annotation.features import Scale, dense, row_vector

KINDS = {"text": Kind.TEXT, "amount": Kind.NUMERIC, "channel": Kind.CATEGORICAL}


def vector(text=None, amount=None, channel=None):
    return row_vector({"text": text, "amount": amount, "channel": channel}, KINDS, {"amount": Scale(10.0, 5.0)})


SPAM = [vector(f"win free money now offer {i}") for i in range(6)]
HAM = [vector(f"see you at the meeting tomorrow {i}") for i in range(6)]
TARGETS = np.array([[0, 1]] * 6 + [[1, 0]] * 6, dtype=np.float32)


def test_a_few_answers_teach_it_to_tell_classes_apart():
    model = QuickModel([*SPAM, *HAM], TARGETS, multi_label=False, background=[])
    probabilities = model.probabilities([vector("free money"), vector("meeting tomorrow")])
    assert probabilities[0].argmax() == 1
    assert probabilities[1].argmax() == 0
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_a_row_that_says_nothing_known_is_the_most_doubtful():
    model = QuickModel([*SPAM, *HAM], TARGETS, multi_label=False, background=[])
    clear_spam, unknown, clear_ham = model.doubts([vector("win free money"), vector("zebra quark"), vector("meeting tomorrow")])
    assert unknown.margin < clear_spam.margin
    assert unknown.margin < clear_ham.margin
    assert explain(clear_spam, ["ham", "spam"], multi_label=False).startswith("the model is torn between spam (.")


def test_numbers_and_categories_count_too():
    rows = [vector(amount=20.0, channel="app") for _ in range(4)] + [vector(amount=1.0, channel="web") for _ in range(4)]
    targets = np.array([[1, 0]] * 4 + [[0, 1]] * 4, dtype=np.float32)
    model = QuickModel(rows, targets, multi_label=False, background=[])
    probabilities = model.probabilities([vector(amount=18.0), vector(channel="web")])
    assert probabilities.argmax(axis=1).tolist() == [0, 1]


def test_it_minimises_the_loss_that_it_should():
    """Against plain gradient descent on the weights, without the dual and without momentum."""
    rows = [*SPAM[:3], *HAM[:3]]
    targets = np.array([[0, 1]] * 3 + [[1, 0]] * 3, dtype=np.float32)
    model = QuickModel(rows, targets, multi_label=False, background=[])
    x = dense(rows) * model._rarity
    seen = np.flatnonzero(x.any(axis=0))
    x = x[:, seen] / np.linalg.norm(x, axis=1, keepdims=True)
    weights = np.zeros((len(seen), 2))
    for _ in range(3000):
        scores = x @ weights + model._bias
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        weights -= 0.2 * (x.T @ (p - targets) + weights / 10)
    assert model._weights[seen] == pytest.approx(weights, abs=2e-3)
    assert not np.delete(model._weights, seen, axis=0).any()


def test_multi_label_doubts_the_class_nearest_to_a_coin_toss():
    rows = [vector("cheap"), vector("fast"), vector("cheap fast"), vector("slow")]
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.float32)
    doubt = QuickModel(rows, targets, multi_label=True, background=[]).doubts([vector("cheap")])[0]
    assert 0 <= doubt.margin <= 1
    assert explain(doubt, ["price", "speed"], multi_label=True).startswith("the model is unsure about ")


@pytest.mark.parametrize("value", [None, float("nan"), "", "\0", "😀" * 50, "x" * 5_000_000, 1e308, "\ud800"])
def test_any_cell_becomes_a_finite_vector(value):
    for kind in Kind:
        _, values = row_vector({"c": value}, {"c": kind}, {"c": Scale.of([value])})
        assert np.isfinite(values).all()
