"""Champion against challenger: sure where it can be, silent where it can't."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from services.common.errors import FailedPrecondition
from services.common.spec import ClassDefinition, InputColumn, Metric, ProblemSpec, check
from services.training.comparison import compare, mcnemar
from services.training.metrics import Outcome, outcome_of


def a_spec(metric: Metric = Metric.ACCURACY) -> ProblemSpec:
    classes = (ClassDefinition(name="no"), ClassDefinition(name="yes"))
    inputs = (InputColumn(name="x", kind="numeric"),)
    return check(ProblemSpec(name="s", dataset="d", classes=classes, inputs=inputs, metric=metric))


def answers(spec: ProblemSpec, right: np.ndarray) -> Outcome:
    labels = np.arange(len(right)) % 2
    sure = np.where(right, 0.8, 0.2)
    p = np.where(labels[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    return outcome_of(spec, np.eye(2, dtype=np.float32)[labels], p, None)


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.MACRO_F1, Metric.LOG_LOSS])
def test_a_challenger_that_is_right_more_often_is_better_and_the_reverse_is_worse(metric):
    spec, rng = a_spec(metric), np.random.default_rng(0)
    champion, challenger = answers(spec, rng.random(500) < 0.7), answers(spec, rng.random(500) < 0.85)
    won, lost = compare(spec, champion, challenger), compare(spec, challenger, champion)
    assert won.verdict == "better" and won.low > 0 and won.p_value < 0.05 and won.difference > 0
    assert lost.verdict == "worse" and lost.high < 0 and lost.difference == pytest.approx(-won.difference)
    assert "better" in won.sentence and "500 holdout rows" in won.sentence


def test_equal_models_are_undecided_with_no_difference():
    spec = a_spec()
    same = answers(spec, np.arange(200) % 5 > 0)
    result = compare(spec, same, same)
    assert result.verdict == "undecided" and result.difference == 0 and result.low == result.high == 0
    assert result.p_value == 1.0 and result.mcnemar_p == 1.0
    assert "not shown to be better" in result.sentence


def test_pairing_sees_a_small_difference_that_two_apart_would_hide():
    spec = a_spec()
    champion = np.random.default_rng(1).random(400) < 0.7
    challenger = champion.copy()
    challenger[np.flatnonzero(~champion)[:12]] = True
    result = compare(spec, answers(spec, champion), answers(spec, challenger))
    assert result.verdict == "better" and result.difference == pytest.approx(0.03)
    assert (result.champion_only_right, result.challenger_only_right) == (0, 12)


@pytest.mark.slow
def test_false_promotions_stay_near_the_level():
    spec, rng = a_spec(), np.random.default_rng(3)
    verdicts = [
        compare(spec, answers(spec, rng.random(150) < 0.8), answers(spec, rng.random(150) < 0.8)).verdict for _ in range(40)
    ]
    assert verdicts.count("better") <= 6


def test_mcnemar_is_the_exact_binomial_test():
    for first, second in [(0, 0), (1, 0), (3, 9), (9, 3), (40, 41), (0, 300)]:
        expected = 1.0 if first + second == 0 else binomtest(first, first + second, 0.5).pvalue
        assert mcnemar(first, second) == pytest.approx(expected)


def test_too_few_rows_are_refused():
    spec = a_spec()
    few = answers(spec, np.ones(19, dtype=bool))
    with pytest.raises(FailedPrecondition, match="label at least 20") as caught:
        compare(spec, few, few)
    assert caught.value.reason == "TOO_FEW_HOLDOUT_ROWS"
