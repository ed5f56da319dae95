"""Makes a label set of gathered gold and votes: aggregates, lays gold over it, and tells what is worth knowing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.common.errors import FailedPrecondition, TooLarge
from services.common.frames.kinds import listed
from services.common.spec import ProblemSpec
from services.labeling.aggregation.choice import Method, aggregate, credit
from services.labeling.aggregation.multi_label import aggregate_classes
from services.labeling.aggregation.quality import disagreeing_rows, hits, per_voter, wilson
from services.labeling.aggregation.votes import Bools, Floats, Gold, Ints, Votes
from services.labeling.label_sets.model import ClassCount, LabelerSummary

MOST_CELLS = 100_000_000
FEW_HOLDOUT_ROWS = 30
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ingredients:
    """Everything that a label set is made of. `training` and `holdout` are row numbers; gold is by position in them."""

    spec: ProblemSpec
    training: Ints
    holdout: Ints
    gold: Gold
    holdout_gold: Gold
    votes: Votes
    gold_labelers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """The frame that is stored, and what is told of it."""

    frame: pd.DataFrame
    method: Method
    coverage: float
    conflict: float
    gold_accuracy: float | None
    summaries: tuple[LabelerSummary, ...]
    classes: tuple[ClassCount, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Aggregated:
    """Both kinds of task alike: `probabilities` of the labeled positions, gold not yet laid over."""

    probabilities: Probabilities
    held_out: Floats
    method: Method
    learned: Floats | None
    conflict: Bools
    contradicted: Ints
    notes: tuple[str, ...]


def make(given: Ingredients, method: Method) -> Made:
    """Raises `FailedPrecondition` (`NO_LABELS`, `ONE_CLASS`) and `TooLarge`."""
    covered = given.votes.covered()
    labeled = covered.copy()
    labeled[given.gold.rows] = True
    positions = np.flatnonzero(labeled).astype(np.int64)
    _check(given, positions)
    found = _aggregated(given, method, positions)
    probabilities = found.probabilities
    probabilities[np.searchsorted(positions, given.gold.rows)] = _distribution(given.gold.members)
    decided = _decided(probabilities, given.spec)
    _check_decided(decided, given)
    return Made(
        frame=_frame(given, positions, covered, probabilities), method=found.method,
        coverage=len(positions) / max(len(given.training), 1), conflict=float(found.conflict.sum() / max(covered.sum(), 1)),
        gold_accuracy=_gold_accuracy(given, found.held_out, covered), summaries=_summaries(given, found),
        classes=_class_counts(given, decided), notes=(*found.notes, *_notes(given)),
    )  # fmt: skip


def _check(given: Ingredients, positions: Ints) -> None:
    if not len(positions):
        raise FailedPrecondition(
            "No training row has a vote or a gold label. Apply a labeler that votes, or label some rows, then try again.",
            reason="NO_LABELS",
        )
    cells = (len(positions) + len(given.holdout_gold)) * len(given.spec.classes)
    if cells > MOST_CELLS:
        raise TooLarge(
            f"A label set of {len(positions):,} rows by {len(given.spec.classes):,} classes",
            limit=f"{MOST_CELLS:,} probabilities", cure="Merge rare classes in a spec that supersedes this one.",
        )  # fmt: skip
    known = given.gold.members.any(axis=0) | given.holdout_gold.members.any(axis=0)
    if not given.spec.multi_label and known.sum() == 1:
        gold, only = len(given.gold) + len(given.holdout_gold), given.spec.class_names[int(known.argmax())]
        raise FailedPrecondition(
            f"All {gold:,} gold labels are '{only}'. Label at least one row of another class: "
            "one class can't be told from none.",
            reason="ONE_CLASS",
        )


def _check_decided(decided: Bools, given: Ingredients) -> None:
    """Without gold, votes for one class alone teach nothing either."""
    if not given.spec.multi_label and decided.any(axis=0).sum() == 1:
        only = given.spec.class_names[int(decided.any(axis=0).argmax())]
        raise FailedPrecondition(
            f"All labels are '{only}'. Add a labeler, or gold labels, of another class: one class can't be told from none.",
            reason="ONE_CLASS",
        )


def _aggregated(given: Ingredients, method: Method, positions: Ints) -> _Aggregated:
    votes, gold = given.votes, given.gold
    if given.spec.multi_label:
        multi = aggregate_classes(votes, gold, method, positions)
        return _Aggregated(
            probabilities=multi.probabilities, held_out=multi.held_out, method=multi.method, learned=multi.learned,
            conflict=multi.conflict, contradicted=multi.contradicted, notes=multi.notes,
        )  # fmt: skip
    single = aggregate(votes, gold, method)
    conflict = disagreeing_rows(votes)
    return _Aggregated(
        probabilities=single.cases[single.case_of[positions]].astype(np.float32), held_out=single.held_out,
        method=single.method, learned=single.learned, conflict=conflict,
        contradicted=per_voter(votes, conflict[votes.row]), notes=single.notes,
    )  # fmt: skip


def _distribution(members: Bools) -> Probabilities:
    return members.astype(np.float32)


def _decided(probabilities: Probabilities, spec: ProblemSpec) -> Bools:
    """The class of each row (multi-label: its classes)."""
    if spec.multi_label:
        return probabilities >= 0.5
    decided = np.zeros(probabilities.shape, dtype=bool)
    decided[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return decided


def _frame(given: Ingredients, positions: Ints, covered: Bools, probabilities: Probabilities) -> pd.DataFrame:
    is_gold = np.isin(positions, given.gold.rows)
    held = given.holdout_gold
    rows = [*probabilities, *_distribution(held.members)]
    return pd.DataFrame(
        {
            "row": np.concatenate([given.training[positions], given.holdout[held.rows]]),
            "holdout": np.repeat([False, True], [len(positions), len(held)]),
            "gold": np.concatenate([is_gold, np.ones(len(held), dtype=bool)]),
            "covered": np.concatenate([covered[positions], np.zeros(len(held), dtype=bool)]),
            "votes": np.concatenate([given.votes.counts()[positions], np.zeros(len(held), dtype=np.int64)]).astype(np.int32),
            "probabilities": pd.Series(rows, dtype=object),
        }
    )


def _gold_accuracy(given: Ingredients, held_out: Floats, covered: Bools) -> float | None:
    """Of aggregated labels on gold rows with votes that may estimate, by a model that wasn't told them."""
    usable = given.gold.estimates & covered[given.gold.rows]
    if not usable.any():
        return None
    told, members = held_out[usable], given.gold.members[usable]
    right = ((told >= 0.5) == members).all(axis=1) if given.spec.multi_label else credit(told, members)
    return float(np.mean(right))


def _summaries(given: Ingredients, found: _Aggregated) -> tuple[LabelerSummary, ...]:
    votes = given.votes
    rows = per_voter(votes, np.ones(len(votes), dtype=bool))
    on_gold, right, trials = hits(votes, given.gold)
    summaries = []
    for index, voter in enumerate(votes.voters):
        if voter.name in given.gold_labelers and not rows[index]:
            continue
        learned = None if found.learned is None or np.isnan(found.learned[index]) else float(found.learned[index])
        count = int(trials[index])
        low, high = wilson(right[index], count) if count else (None, None)
        summaries.append(
            LabelerSummary(
                labeler=voter.name, votes=int(rows[index]), coverage=float(rows[index] / max(votes.rows, 1)),
                conflict=float(found.contradicted[index] / max(rows[index], 1)), learned_accuracy=learned,
                gold_votes=int(on_gold[index]), gold_accuracy=float(right[index] / count) if count else None,
                gold_accuracy_low=low, gold_accuracy_high=high,
            )
        )  # fmt: skip
    return tuple(summaries)


def _class_counts(given: Ingredients, decided: Bools) -> tuple[ClassCount, ...]:
    columns = (decided.sum(axis=0), given.gold.members.sum(axis=0), given.holdout_gold.members.sum(axis=0))
    return tuple(
        ClassCount(class_name=name, training_rows=int(training), gold_rows=int(gold), holdout_rows=int(held))
        for name, training, gold, held in zip(given.spec.class_names, *columns, strict=True)
    )


def _notes(given: Ingredients) -> list[str]:
    notes = []
    votes = given.votes
    rows = per_voter(votes, np.ones(len(votes), dtype=bool))
    silent = [
        voter.name.rpartition("/")[2]
        for voter, count in zip(votes.voters, rows, strict=True)
        if not count and voter.name not in given.gold_labelers
    ]
    if silent:
        notes.append(f"Labelers without a vote on these training rows: {_names(silent)}.")
    held = given.holdout_gold.members.sum(axis=0)
    few = [name for name, count in zip(given.spec.class_names, held, strict=True) if count < FEW_HOLDOUT_ROWS]
    if few:
        notes.append(f"Fewer than {FEW_HOLDOUT_ROWS} gold holdout rows, so scores that are mostly luck: {_names(few)}.")
    picked = int((~given.gold.estimates).sum())
    if picked:
        notes.append(f"{picked:,} gold rows weren't drawn at random: they teach, but estimate no accuracy.")
    return notes


def _names(names: Sequence[str]) -> str:
    return listed(names, most=6)
