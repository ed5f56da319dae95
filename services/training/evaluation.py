"""The report of a run: what the model scored, beside what anybody would have scored, and what a person should know.

Leaderboards go by the selection slice. The holdout is read here, once, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.bundle.decision import Decision
from services.common.spec import ProblemSpec
from services.training.baselines import Baseline
from services.training.calibration import Choice, reliability, uncalibrated
from services.training.data import Examples
from services.training.learning import Learned, Logits
from services.training.metrics import Outcome, as_json, confusion, intervals, outcome_of, per_class, score

MOST_CONFUSION = 100
FEW_HOLDOUT_ROWS = 30
MOST_SLICE_VALUES = 20
FEWEST_GOLD = 50
_FEWER_DRAWS = 300

Doubles = npt.NDArray[np.float64]


def selection_rows(learned: Learned, gold: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Places within the selection that choices are made on: its gold rows where there are at least 50, else all of them."""
    inside = np.flatnonzero(gold[learned.selected])
    return inside if len(inside) >= FEWEST_GOLD else np.arange(len(learned.selected))


def selection_report(
    spec: ProblemSpec, learned: Learned, choice: Choice, targets: npt.NDArray[np.float32], chosen_on: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """The score that the leaderboard is ordered by; without any selection rows its value is None."""
    report: dict[str, Any] = {"metric": str(spec.metric), "value": None, "low": None, "high": None, "rows": len(chosen_on)}
    if len(chosen_on):
        p = choice.decision.probabilities(learned.selection_logits[chosen_on], spec.multi_label)
        outcome = outcome_of(spec, targets[learned.selected[chosen_on]], p, choice.decision.thresholds)
        measured = intervals(spec, outcome, only=spec.metric)[str(spec.metric)]
        report |= {"value": measured.value, "low": measured.low, "high": measured.high}
    return report | {"head": choice.head, "losses": dict(choice.losses)}


def holdout_report(
    spec: ProblemSpec, choice: Choice, logits: Logits, holdout: Examples, heads: Sequence[str]
) -> dict[str, Any]:
    """Every metric with its interval, classes, confusion, slices, calibration, each head alone; empty without rows."""
    if not len(holdout):
        return {"rows": 0, "metrics": {}, "heads": {}}
    decision = choice.decision
    outcome = outcome_of(spec, holdout.targets, decision.probabilities(logits, spec.multi_label), decision.thresholds)
    return {
        "rows": len(holdout),
        "metrics": as_json(intervals(spec, outcome)),
        "classes": per_class(spec, outcome),
        "confusion": _confusion(spec, outcome),
        "slices": _slices(spec, outcome, holdout),
        "calibration": _calibration(spec, choice, logits, outcome),
        "heads": _heads(spec, choice, logits, holdout, heads),
    }


def baseline_report(spec: ProblemSpec, baselines: Sequence[Baseline], holdout: Examples) -> list[dict[str, Any]]:
    """Every baseline on the same holdout rows, decided by the spec's own rule."""
    return [
        {
            "name": baseline.name,
            "description": baseline.description,
            "metrics": as_json(
                intervals(spec, outcome_of(spec, holdout.targets, baseline.probabilities, None), draws=_FEWER_DRAWS)
            ),
        }
        for baseline in baselines
    ]


def leaderboard(spec: ProblemSpec, report: dict[str, Any]) -> list[dict[str, Any]]:
    """This model and the baselines by the spec's metric on the holdout, best first; None where there is no holdout."""
    metric = str(spec.metric)
    rows = [
        {"name": "this model", "score": report["holdout"]["metrics"].get(metric), "selection": report["selection"]["value"]}
    ]
    rows += [{"name": b["name"], "score": b["metrics"][metric], "selection": None} for b in report["baselines"]]
    sign = 1.0 if spec.metric.lower_is_better else -1.0
    return sorted(rows, key=lambda row: sign * _value(row["score"]))


def notes_of(spec: ProblemSpec, report: dict[str, Any]) -> list[str]:
    """What a person should know of the scores: too few rows to tell, a baseline that wins."""
    holdout = report["holdout"]
    if not holdout["rows"]:
        return ["No gold label lies in the holdout, so nothing was measured there. Label some of its rows."]
    scarce = [row["name"] for row in holdout["classes"] if row["rows"] < FEW_HOLDOUT_ROWS]
    notes = []
    if scarce:
        shown = ", ".join(f"'{name}'" for name in scarce[:5]) + (f" and {len(scarce) - 5} more" if len(scarce) > 5 else "")
        notes.append(
            f"Fewer than {FEW_HOLDOUT_ROWS} holdout rows of {shown}: scores of these classes are rough. Label more of them."
        )
    if (only := _only_answer(holdout)) is not None:
        notes.append(
            f"Every holdout row gets '{only}': the model has learned no more than which class is most frequent. Other columns, "
            "more rows, balanced classes or another metric may help."
        )
    metric = str(spec.metric)
    ours = _value(holdout["metrics"][metric])
    sign = -1.0 if spec.metric.lower_is_better else 1.0
    for baseline in report["baselines"]:
        theirs = _value(baseline["metrics"][metric])
        if sign * (theirs - ours) > 0:
            notes.append(
                f"The baseline '{baseline['name']}' has {metric} {theirs:.3f} and this model {ours:.3f} on the holdout."
            )
    return notes


def _only_answer(holdout: dict[str, Any]) -> str | None:
    """The class that every holdout row is decided to be, where there is such a class and rows of others."""
    names, matrix = holdout["confusion"]["classes"], np.array(holdout["confusion"]["matrix"])
    if not matrix.size or (matrix.sum(axis=1) > 0).sum() < 2:
        return None
    decided = np.flatnonzero(matrix.sum(axis=0))
    return str(names[decided[0]]) if len(decided) == 1 and decided[0] < len(names) else None


def _value(measured: dict[str, Any] | None) -> float:
    """The point estimate; 0 where it isn't defined."""
    return float(measured["value"]) if measured and measured["value"] is not None else 0.0


def _confusion(spec: ProblemSpec, outcome: Outcome) -> dict[str, Any]:
    """The matrix up to 100 classes, and the most frequent confusions always."""
    matrix = confusion(outcome)
    names = spec.class_names
    wrong = matrix[:, :-1].copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [np.unravel_index(int(at), wrong.shape) for at in worst]
    top = [{"true": names[t], "decided": names[d], "rows": int(wrong[t, d])} for t, d in pairs if wrong[t, d]]
    return {"classes": list(names), "matrix": matrix.tolist() if len(names) <= MOST_CONFUSION else [], "most_confused": top}


def _slices(spec: ProblemSpec, outcome: Outcome, holdout: Examples) -> list[dict[str, Any]]:
    found = []
    for column, values in holdout.slices.items():
        names, counts = np.unique([value or "" for value in values], return_counts=True)
        for value in names[np.argsort(-counts, kind="stable")][:MOST_SLICE_VALUES]:
            inside = np.array([(v or "") == value for v in values])
            part = outcome.take(inside)
            measured = as_json(intervals(spec, part, draws=_FEWER_DRAWS))
            found.append({"column": column, "value": str(value), "rows": len(part), "metrics": measured})
    return found


def _calibration(spec: ProblemSpec, choice: Choice, logits: Logits, outcome: Outcome) -> dict[str, Any]:
    before = uncalibrated(choice.decision, logits, spec.multi_label)
    error_before, _ = reliability(before, outcome.truth, spec.multi_label)
    error_after, bins = reliability(outcome.probabilities, outcome.truth, spec.multi_label)
    return {
        "temperature": choice.decision.temperature,
        "thresholds": None if choice.decision.thresholds is None else list(choice.decision.thresholds),
        "error_before": error_before,
        "error_after": error_after,
        "bins": bins,
    }


def _heads(spec: ProblemSpec, choice: Choice, logits: Logits, holdout: Examples, heads: Sequence[str]) -> dict[str, float]:
    """The spec's metric of each head alone, at the model's temperature."""
    scores = {}
    for h, head in enumerate(heads):
        alone = Decision(
            weights=tuple(float(other == h) for other in range(len(heads))), temperature=choice.decision.temperature
        )
        scores[head] = score(spec, outcome_of(spec, holdout.targets, alone.probabilities(logits, spec.multi_label), None))
    return scores
