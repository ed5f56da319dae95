"""Champion against challenger on the same holdout rows, row by row.

A paired bootstrap of the spec's metric says how much better the challenger is and how sure that is; McNemar's exact test
says whether it is right on more of the rows where only one of them is. Pairing removes what both share: the same difference
would need several times the rows if each were measured apart.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.bundle.runtime import Bundle
from services.common.errors import FailedPrecondition
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.training.data import Examples, holdout_of
from services.training.metrics import Outcome, measure, outcome_of, resamples

Doubles = npt.NDArray[np.float64]

SIGNIFICANCE = 0.05
_DRAWS = 2000
_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`difference` is challenger minus champion, turned so that more is better; `low` and `high` bound it at 95%.

    `p_value` is one-sided, of "the challenger is no better"; `mcnemar_p` two-sided, of "both are right equally often".
    `verdict`: `better` (shown at the significance asked for), `worse` (shown likewise), or `undecided`.
    """

    metric: str
    rows: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    p_value: float
    champion_only_right: int
    challenger_only_right: int
    mcnemar_p: float
    verdict: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compare(spec: ProblemSpec, champion: Outcome, challenger: Outcome, significance: float = SIGNIFICANCE) -> Comparison:
    """Both outcomes are of the same rows, in the same order. Raises `FailedPrecondition` below 20 rows."""
    rows = len(champion)
    if rows < _FEWEST_ROWS:
        raise FailedPrecondition(
            f"{rows} gold holdout rows are too few to compare two versions: label at least {_FEWEST_ROWS} of them.",
            reason="TOO_FEW_HOLDOUT_ROWS",
        )
    sign = -1.0 if spec.metric.lower_is_better else 1.0
    old, new = _values(spec, champion, np.ones((1, rows))), _values(spec, challenger, np.ones((1, rows)))
    draws = [_values(spec, challenger, w) - _values(spec, champion, w) for w in resamples(rows, _DRAWS)]
    differences = sign * np.concatenate(draws)
    difference = sign * float(new[0] - old[0])
    low, high = (float(end) for end in np.nanquantile(differences, [0.025, 0.975]))
    p_value = _share_at_or_below_zero(differences)
    only_old = int((champion.right & ~challenger.right).sum())
    only_new = int((challenger.right & ~champion.right).sum())
    worse = _share_at_or_below_zero(-differences)
    verdict = "better" if p_value < significance else "worse" if worse < significance else "undecided"
    made = Comparison(
        metric=str(spec.metric), rows=rows, champion=float(old[0]), challenger=float(new[0]), difference=difference,
        low=low, high=high, p_value=p_value, champion_only_right=only_old, challenger_only_right=only_new,
        mcnemar_p=mcnemar(only_old, only_new), verdict=verdict, sentence="",
    )  # fmt: skip
    return _with_sentence(made, significance)


def compare_bundles(
    objects: ObjectStore,
    champion: str,
    challenger: str,
    dataset_manifest_key: str,
    label_set_key: str,
    cache_dir: Path,
    significance: float = SIGNIFICANCE,
) -> Comparison:
    """Both bundles, by digest, on the gold holdout rows of a label set, by the challenger's spec.

    Raises `FailedPrecondition` where their classes differ: such models answer different questions.
    """
    old, new = Bundle.open(objects, champion, cache_dir), Bundle.open(objects, challenger, cache_dir)
    if old.spec.class_names != new.spec.class_names or old.spec.task != new.spec.task:
        raise FailedPrecondition(
            "Champion and challenger have different classes, so no row can be right for both. Promote the challenger by hand.",
            reason="SPECS_DIFFER",
        )
    outcomes = [
        _outcome_on(bundle, new.spec, holdout_of(bundle.spec, objects, dataset_manifest_key, label_set_key))
        for bundle in (old, new)
    ]
    return compare(new.spec, outcomes[0], outcomes[1], significance)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): the discordant rows as fair coin tosses."""
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    if tosses == 0:
        return 1.0
    logs = [
        math.lgamma(tosses + 1) - math.lgamma(i + 1) - math.lgamma(tosses - i + 1) - tosses * math.log(2)
        for i in range(fewer + 1)
    ]
    return min(1.0, 2.0 * math.fsum(math.exp(log) for log in logs))


def _outcome_on(bundle: Bundle, spec: ProblemSpec, holdout: Examples) -> Outcome:
    probabilities = bundle.probabilities(holdout.columns, len(holdout)).astype(np.float64)
    return outcome_of(spec, holdout.targets, probabilities, bundle.manifest.decision.thresholds)


def _values(spec: ProblemSpec, outcome: Outcome, weights: Doubles) -> Doubles:
    return measure(spec, outcome, weights, only=spec.metric)[str(spec.metric)]


def _share_at_or_below_zero(differences: Doubles) -> float:
    """A bootstrap p-value, never quite 0: the observed sample counts as one draw. A draw without a value counts against."""
    return float(((~(differences > 0)).sum() + 1) / (len(differences) + 1))


def _with_sentence(made: Comparison, significance: float) -> Comparison:
    scores = f"{made.metric} {made.challenger:.3f} against the champion's {made.champion:.3f} on {made.rows} holdout rows"
    spread = f"difference {made.difference:+.3f}, 95% interval {made.low:+.3f} to {made.high:+.3f}, p = {made.p_value:.3f}"
    right = f"it alone is right on {made.challenger_only_right} rows, the champion alone on {made.champion_only_right}"
    verdicts = {
        "better": f"The challenger is better: {scores} ({spread}; {right}).",
        "worse": f"The challenger is worse: {scores} ({spread}; {right}).",
        "undecided": f"The challenger is not shown to be better at the {significance:g} level: {scores} ({spread}; {right}).",
    }
    return replace(made, sentence=verdicts[made.verdict])
