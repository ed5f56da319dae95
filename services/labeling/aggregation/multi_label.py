"""Multi-label votes, class by class: each class is a question of its own, answered no (0) or yes (1).

A vote for a class is a yes; a vote against it, or a complete answer that leaves it out, is a no. Where nothing is said of a
class, its share among the rows is the guess, which for most classes means no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.labeling.aggregation.choice import Aggregate, Method, aggregate
from services.labeling.aggregation.votes import Bools, Floats, Gold, Ints, Votes, quotient, votes_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiAggregate:
    """Probabilities of the asked rows (rows, classes), and of each gold row before gold overrides them (gold rows, classes).

    `conflict` marks rows, `contradicted` counts per labeler the answers, that another one says the opposite of.
    """

    probabilities: npt.NDArray[np.float32]
    held_out: Floats
    method: Method
    learned: Floats | None
    conflict: Bools
    contradicted: Ints
    notes: tuple[str, ...]


def aggregate_classes(votes: Votes, gold: Gold, method: Method, positions: Ints) -> MultiAggregate:
    """Aggregates every class; `positions` are the rows whose probabilities are wanted."""
    probabilities = np.zeros((len(positions), votes.classes), dtype=np.float32)
    held_out = np.zeros((len(gold), votes.classes))
    conflict = np.zeros(votes.rows, dtype=bool)
    contradicted: set[int] = set()
    found: list[tuple[Aggregate, Ints]] = []
    for index, asked in _by_class(votes):
        one = _aggregate_class(asked, _binary(gold, index), method)
        probabilities[:, index] = one.cases[one.case_of[positions], 1]
        held_out[:, index] = one.held_out[:, 1]
        clash = _clashes(asked)
        conflict |= clash
        hit = clash[asked.row]
        contradicted.update((asked.row[hit] * len(votes.voters) + asked.voter[hit]).tolist())
        found.append((one, np.bincount(asked.voter, minlength=len(votes.voters))))
    answers = np.fromiter(contradicted, dtype=np.int64, count=len(contradicted)) % max(len(votes.voters), 1)
    return MultiAggregate(
        probabilities=probabilities, held_out=held_out, method=_method([one for one, _ in found], method),
        learned=_mean_learned(found), conflict=conflict, contradicted=np.bincount(answers, minlength=len(votes.voters)),
        notes=_notes([one for one, _ in found]),
    )  # fmt: skip


def _by_class(votes: Votes) -> Iterator[tuple[int, Votes]]:
    """(class, its votes as two classes), for classes that some vote names."""
    complete = np.zeros(len(votes), dtype=bool) if votes.complete is None else votes.complete
    size = max(len(votes.voters), 1)
    answer = votes.row * size + votes.voter
    whole, first = np.unique(answer[complete], return_index=True)
    whole_weight = votes.weight[complete][first]
    order = np.argsort(votes.cls, kind="stable")
    start = np.searchsorted(votes.cls[order], np.arange(votes.classes + 1))
    for index in range(votes.classes):
        named = order[start[index] : start[index + 1]]
        if not len(named) or votes.against[named].all():
            continue
        silent = ~np.isin(whole, answer[named], assume_unique=False)
        row = np.concatenate([votes.row[named], whole[silent] // size])
        yield index, votes_of(
            rows=votes.rows, classes=2, voters=votes.voters, row=row,
            voter=np.concatenate([votes.voter[named], whole[silent] % size]),
            cls=np.concatenate([(~votes.against[named]).astype(np.int64), np.zeros(silent.sum(), dtype=np.int64)]),
            weight=np.concatenate([votes.weight[named], whole_weight[silent]]),
        )  # fmt: skip


def _aggregate_class(asked: Votes, gold: Gold, method: Method) -> Aggregate:
    yes = np.bincount(asked.row, np.where(asked.cls == 1, asked.weight, -asked.weight), minlength=asked.rows) > 0
    yes[gold.rows] = gold.members[:, 1]
    share = (yes.sum() + 1) / (asked.rows + 2)
    found = aggregate(asked, gold, method, prior=np.array([1 - share, share]))
    if found.method is Method.DAWID_SKENE:
        return found
    # A count has no opinion where there is no vote: not naming a class means that it doesn't apply.
    silent = np.ones(len(found.cases), dtype=bool)
    silent[found.case_of[asked.row]] = False
    cases = found.cases.copy()
    cases[silent] = (1.0, 0.0)
    return replace(found, cases=cases, held_out=cases[found.case_of[gold.rows]])


def _binary(gold: Gold, index: int) -> Gold:
    has = gold.members[:, index]
    return Gold(rows=gold.rows, members=np.stack([~has, has], axis=1), estimates=gold.estimates)


def _clashes(asked: Votes) -> Bools:
    yes, no = (np.bincount(asked.row[asked.cls == side], minlength=asked.rows) > 0 for side in (1, 0))
    return yes & no


def _method(found: list[Aggregate], asked: Method) -> Method:
    used = {one.method for one in found}
    if not used:
        return Method.SOFT_MAJORITY if asked is Method.SOFT_MAJORITY else Method.MAJORITY
    return Method.DAWID_SKENE if Method.DAWID_SKENE in used else used.pop()


def _mean_learned(found: list[tuple[Aggregate, Ints]]) -> Floats | None:
    """Each labeler's learned accuracy over its answers to all classes."""
    learned = [(one.learned, count) for one, count in found if one.learned is not None]
    if not learned:
        return None
    weight = np.sum([count * ~np.isnan(accuracy) for accuracy, count in learned], axis=0)
    total = np.sum([count * np.nan_to_num(accuracy) for accuracy, count in learned], axis=0)
    return quotient(total, weight, np.nan)


def _notes(found: list[Aggregate]) -> tuple[str, ...]:
    """One sentence for all the classes that fell back, with the reason of the first."""
    reasons = [note for one in found for note in one.notes]
    if not reasons:
        return ()
    return (f"{reasons[0]} (so for {len(reasons)} of {len(found)} classes)" if len(found) > 1 else reasons[0],)
