"""From votes and gold to probabilities: picks the method, checks the label model, and falls back honestly.

No label model is safe alone: each published one loses to the majority vote somewhere. So labelers have to overlap, and the
model must not lose against majority on gold rows that it didn't learn from, nor, where gold is too little to judge, collapse or
contradict the votes; else majority it is, with a note.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from services.labeling.aggregation.dawid_skene import dawid_skene, sharpened
from services.labeling.aggregation.feedback import capped, scaled_by_reliability
from services.labeling.aggregation.majority import majority, soft_majority
from services.labeling.aggregation.votes import Bools, Floats, Gold, Ints, Patterns, Votes, patterns_of, quotient

MOST_CLASSES = 1_000
MOST_PARAMETERS = 20_000_000
MOST_POSTERIORS = 50_000_000
_ENOUGH_GOLD = 30
_COLLAPSE_ROWS, _COLLAPSE_SHARE, _LEAST_AGREEMENT = 10, 0.1, 0.5


class Method(StrEnum):
    """How votes become probabilities."""

    AUTOMATIC = "automatic"
    MAJORITY = "majority"
    SOFT_MAJORITY = "soft majority"
    DAWID_SKENE = "Dawid-Skene"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate:
    """Probabilities before gold overrides them: that of row r is `cases[case_of[r]]`.

    `held_out` holds, in the order of the gold rows, what a model that didn't see that row's gold label says of it. `learned` is
    the model's view of each labeler's accuracy (NaN where it has none; None where the method learns nothing).
    """

    cases: Floats
    case_of: Ints
    held_out: Floats
    method: Method
    learned: Floats | None
    notes: tuple[str, ...]


def aggregate(votes: Votes, gold: Gold, method: Method, *, prior: Floats | None = None) -> Aggregate:
    """Aggregates single-label votes, or those of one class of a multi-label spec as two classes (no, yes).

    `prior`: class probabilities where no vote speaks (None: all alike).
    """
    votes = capped(votes)
    by_count = Method.SOFT_MAJORITY if method is Method.SOFT_MAJORITY else Method.MAJORITY
    if method in (Method.MAJORITY, Method.SOFT_MAJORITY):
        return _counted(votes, gold, by_count, prior)
    if method is Method.AUTOMATIC and not _overlap(votes):
        return _counted(votes, gold, by_count, prior)
    counted = _counted(votes, gold, Method.MAJORITY, prior)
    labels = gold.classes(votes.rows)
    patterns = patterns_of(votes, labels)
    if (problem := _too_large(patterns, votes)) is None:
        modelled = _modelled(votes, gold, patterns, prior)
        problem = _loss(gold, modelled.held_out, counted.held_out, votes)
        if problem is None and _judges(gold, votes).sum() < _ENOUGH_GOLD:
            problem = _collapse(patterns, modelled.cases, votes.classes)
        if problem is None:
            return modelled
    return replace(counted, notes=(f"Dawid-Skene was left for majority: {problem}.",))


def _counted(votes: Votes, gold: Gold, method: Method, prior: Floats | None) -> Aggregate:
    patterns = patterns_of(scaled_by_reliability(votes, gold.classes(votes.rows)), np.full(votes.rows, -1))
    cases = (soft_majority if method is Method.SOFT_MAJORITY else majority)(patterns, votes.classes)
    if prior is not None:
        cases[np.bincount(patterns.pattern, minlength=len(patterns)) == 0] = prior
    held_out = cases[patterns.inverse[gold.rows]]
    return Aggregate(cases=cases, case_of=patterns.inverse, held_out=held_out, method=method, learned=None, notes=())


def _modelled(votes: Votes, gold: Gold, patterns: Patterns, prior: Floats | None) -> Aggregate:
    fit = dawid_skene(patterns, votes.voters, votes.classes, prior=prior)
    notes = () if fit.converged else (f"Dawid-Skene was stopped after {fit.iterations} rounds, before it settled.",)
    cases = sharpened(fit.posterior)
    return Aggregate(
        cases=cases, case_of=patterns.inverse, held_out=_cross_fitted(votes, gold, prior), method=Method.DAWID_SKENE,
        learned=_learned(votes, patterns, cases), notes=notes,
    )  # fmt: skip


def _cross_fitted(votes: Votes, gold: Gold, prior: Floats | None) -> Floats:
    """What the model says of each gold row when the other half of the gold rows taught it."""
    told = np.full((len(gold), votes.classes), 1 / votes.classes)
    labels = gold.classes(votes.rows)
    for half in range(2 if len(gold) else 0):
        asked = gold.rows[half::2]
        taught = labels.copy()
        taught[asked] = -1
        patterns = patterns_of(votes, taught)
        told[half::2] = dawid_skene(patterns, votes.voters, votes.classes, prior=prior).posterior[patterns.inverse[asked]]
    return told


def _learned(votes: Votes, patterns: Patterns, cases: Floats) -> Floats:
    """The expected share of each labeler's votes that are right, gold counted as gold."""
    truth = cases.copy()
    gold = np.flatnonzero(patterns.gold >= 0)
    truth[gold] = np.eye(votes.classes)[patterns.gold[gold]]
    said = truth[patterns.inverse[votes.row], votes.cls]
    right = np.bincount(votes.voter, np.where(votes.against, 1 - said, said), minlength=len(votes.voters))
    count = np.bincount(votes.voter, minlength=len(votes.voters))
    return quotient(right.astype(np.float64), count, np.nan)


def _overlap(votes: Votes) -> bool:
    """Whether any row has votes of two labelers."""
    pairs = np.unique(votes.row * len(votes.voters) + votes.voter)
    return bool((np.diff(pairs // max(len(votes.voters), 1)) == 0).any())


def _too_large(patterns: Patterns, votes: Votes) -> str | None:
    parameters, posteriors = (size * votes.classes for size in (len(patterns.code_voter), len(patterns)))
    if votes.classes > MOST_CLASSES or parameters > MOST_PARAMETERS or posteriors > MOST_POSTERIORS:
        return f"{votes.classes:,} classes are too many for its tables on this data"
    return None


def _collapse(patterns: Patterns, cases: Floats, classes: int) -> str | None:
    """Where the model gives up a class that the votes know, or contradicts most of the votes, EM has found another optimum."""
    voted = np.bincount(patterns.pattern, minlength=len(patterns)) > 0
    counted = majority(patterns, classes)
    clear = voted & (counted.max(axis=1) > 1 - 1e-9)
    weight = patterns.count[clear]
    by_votes, by_model = counted[clear].argmax(axis=1), cases[clear].argmax(axis=1)
    if not weight.sum():
        return None
    before = np.bincount(by_votes, weight, minlength=classes)
    after = np.bincount(by_model, weight, minlength=classes)
    lost = int(((before >= _COLLAPSE_ROWS) & (after < _COLLAPSE_SHARE * before)).sum())
    agreement = float((weight * (by_votes == by_model)).sum() / weight.sum())
    if lost:
        return f"it collapsed, giving up {lost} of {classes} classes that the votes name"
    if agreement < _LEAST_AGREEMENT:
        return f"it contradicts the votes on {1 - agreement:.0%} of the rows where they agree"
    return None


def _loss(gold: Gold, modelled: Floats, counted: Floats, votes: Votes) -> str | None:
    """Whether majority is significantly better on gold rows with votes (one-sided sign test, 5%)."""
    usable = _judges(gold, votes)
    model, count = (credit(p[usable], gold.members[usable]) for p in (modelled, counted))
    better, worse = int((model > count).sum()), int((model < count).sum())
    if worse <= better or _tail(worse, better + worse) > 0.05:
        return None
    return f"on {int(usable.sum())} gold rows with votes it is right on {model.mean():.1%}, majority on {count.mean():.1%}"


def _judges(gold: Gold, votes: Votes) -> Bools:
    """Which gold rows can tell a good model from a bad one: rows with votes that came to be gold by chance."""
    judging: Bools = gold.estimates & votes.covered()[gold.rows]
    return judging


def credit(probabilities: Floats, members: Bools) -> Floats:
    """1 where the most probable class is right; where several are most probable, the share of them that is."""
    best = probabilities >= probabilities.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((best & members).sum(axis=1) / best.sum(axis=1))


def _tail(successes: int, trials: int) -> float:
    """P(at least that many heads) of a fair coin."""
    if trials > 1000:
        return 0.5 * math.erfc((successes - 0.5 - trials / 2) / math.sqrt(trials / 2))
    return float(sum(math.comb(trials, k) for k in range(successes, trials + 1)) / 2**trials)
