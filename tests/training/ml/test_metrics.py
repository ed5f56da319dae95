"""Metrics, intervals and calibration, against scikit-learn and against what is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from services.common.spec import ClassDefinition, InputColumn, Metric, ProblemSpec, Task, check
from services.training.calibration import choose, fit_temperature, reliability, ways_to_answer
from services.training.metrics import confusion, intervals, measure, outcome_of, per_class, score


def a_spec(classes: int = 2, **more) -> ProblemSpec:
    return check(
        ProblemSpec(
            name="s",
            dataset="d",
            inputs=(InputColumn(name="x", kind="numeric"),),
            classes=tuple(ClassDefinition(name=f"c{i}") for i in range(classes)),
            **more,
        )
    )


def an_outcome(spec: ProblemSpec, rows: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    k = len(spec.classes)
    truth = rng.integers(0, k, rows)
    p = rng.dirichlet(np.ones(k), rows) * 0.6
    p[np.arange(rows), truth] += 0.4 * (rng.random(rows) < 0.7)
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # rounded: ties must be handled
    return truth, p, outcome_of(spec, np.eye(k, dtype=np.float32)[truth], p, None)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_those_of_scikit_learn(classes):
    spec = a_spec(classes, beta=2.0, positive_class="c1")
    truth, p, outcome = an_outcome(spec)
    values = {name: float(v[0]) for name, v in measure(spec, outcome, np.ones((1, len(truth)))).items()}
    decided = p.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(truth, decided))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(truth, decided, average="macro"))
    assert values["weighted_f1"] == pytest.approx(sk.f1_score(truth, decided, average="weighted"))
    assert values["f_beta"] == pytest.approx(sk.fbeta_score(truth == 1, decided == 1, beta=2.0))
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(truth == 1, p[:, 1]))
    assert values["roc_auc"] == pytest.approx(sk.roc_auc_score(truth == 1, p[:, 1]))


def test_a_bootstrap_draw_is_the_metric_on_the_drawn_rows():
    spec = a_spec(3)
    _, _, outcome = an_outcome(spec, rows=60)
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 60, 60)
    counts = np.bincount(drawn, minlength=60).astype(float)[None]
    by_weight = measure(spec, outcome, counts)
    by_rows = measure(spec, outcome.take(drawn), np.ones((1, 60)))
    assert all(by_weight[name][0] == pytest.approx(by_rows[name][0]) for name in by_rows)


def test_an_interval_holds_its_value_and_narrows_with_rows():
    spec = a_spec(2)
    few = intervals(spec, an_outcome(spec, rows=50)[2])["accuracy"]
    many = intervals(spec, an_outcome(spec, rows=5000)[2])["accuracy"]
    assert few.low <= few.value <= few.high
    assert (many.high - many.low) < (few.high - few.low) / 4
    assert many.high - many.low == pytest.approx(2 * 1.96 * np.sqrt(many.value * (1 - many.value) / 5000), rel=0.2)


def test_an_abstention_is_neither_right_nor_a_class():
    spec = a_spec(2, abstain_below=0.8)
    targets = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    outcome = outcome_of(spec, targets, np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]]), None)
    assert confusion(outcome).tolist() == [[1, 0, 0], [0, 1, 1]]
    values = measure(spec, outcome, np.ones((1, 3)))
    assert values["accuracy"][0] == pytest.approx(2 / 3) and values["answered"][0] == pytest.approx(2 / 3)


def test_expected_cost_follows_the_matrix():
    spec = a_spec(2, cost_matrix=((0.0, 1.0), (10.0, 0.0)), metric=Metric.EXPECTED_COST)
    targets = np.eye(2, dtype=np.float32)[[0, 0, 1]]
    outcome = outcome_of(spec, targets, np.array([[0.95, 0.05], [0.85, 0.15], [0.95, 0.05]]), None)
    assert outcome.decided.argmax(axis=1).tolist() == [0, 1, 0]
    assert score(spec, outcome) == pytest.approx((0 + 1 + 10) / 3)


def test_multi_label_accuracy_needs_every_class_right():
    spec = a_spec(3, task=Task.MULTI_LABEL)
    targets = np.array([[1, 0, 1], [0, 0, 0]], dtype=np.float32)
    outcome = outcome_of(spec, targets, np.array([[0.9, 0.2, 0.9], [0.1, 0.6, 0.1]]), None)
    assert outcome.right.tolist() == [True, False]
    assert [row["rows"] for row in per_class(spec, outcome)] == [1, 0, 1]


def test_the_temperature_that_made_logits_too_sure_is_found_again():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 3)) * 2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    targets = np.eye(3, dtype=np.float32)[labels]
    assert fit_temperature(z * 3.0, targets, np.ones(4000), False) == pytest.approx(3.0, rel=0.1)
    sure, calibrated = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (z * 3.0, z))
    truth = targets.astype(bool)
    assert reliability(calibrated, truth, False)[0] < 0.03 < reliability(sure, truth, False)[0]


def test_a_head_that_knows_nothing_is_not_listened_to():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 500)
    good = np.where(labels[:, None] == [0, 1], 1.5, -1.5) + rng.normal(size=(500, 2))
    logits = np.stack([rng.normal(size=(500, 2)) * 3, good, good + rng.normal(size=(500, 2)) * 2], axis=1).astype(np.float32)
    chosen = choose(a_spec(2), ("text", "table", "joint"), logits, np.eye(2, dtype=np.float32)[labels], np.ones(500))
    assert chosen.head == "table" and chosen.decision.weights == (0.0, 1.0, 0.0)
    assert (
        set(chosen.losses)
        == set(ways_to_answer(("text", "table", "joint")))
        == {"text", "table", "joint", "mean", "mean of all"}
    )


def test_the_f_beta_threshold_moves_towards_recall_with_beta():
    rng = np.random.default_rng(2)
    labels = (rng.random(2000) < 0.2).astype(int)
    z = np.stack([np.zeros(2000), rng.normal(size=2000) + 2.0 * labels - 2.0], axis=1)[:, None, :].astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[labels]
    found = {
        beta: choose(a_spec(2, metric=Metric.F_BETA, beta=beta), ("joint",), z, targets, np.ones(2000)).decision.thresholds
        for beta in (0.5, 4.0)
    }
    assert found[0.5] is not None and found[4.0] is not None and found[0.5][1] > found[4.0][1] + 0.1
    assert choose(a_spec(2), ("joint",), z, targets, np.ones(2000)).decision.thresholds is None
