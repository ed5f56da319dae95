"""Sparse votes, and the patterns that repeat among them.

A `Votes` holds one entry per vote: row, labeler, class, for or against, weight. Rows are positions 0..rows-1 (training rows
only). Label models look at `Patterns`: rows with the same votes and the same gold label share one posterior, so a million rows
under ten labelers are a few hundred cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NO_GOLD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """One labeler as a label model sees it.

    `reads_every_row`: its silence on a row is an abstention, which tells something; else it is a missing answer, which doesn't.
    `capped`: a feedback source, whose votes on a row together with those of other sources weigh at most one vote.
    """

    name: str
    reads_every_row: bool
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """One entry per vote, all arrays alike in length. `classes` counts the classes; `weight` is above 0 and at most 1.

    `complete` marks entries (multi-label alone) of an answer that names all classes of its row: classes it doesn't name are
    voted against. An empty answer is a complete entry of class `NO_CLASS`.
    """

    rows: int
    classes: int
    voters: tuple[Voter, ...]
    row: Ints
    voter: Ints
    cls: Ints
    against: Bools
    weight: Floats
    complete: Bools | None = None

    def __len__(self) -> int:
        return len(self.row)

    def only(self, keep: Bools) -> Votes:
        """The entries of a mask."""
        return self._with(self.row[keep], self.voter[keep], self.cls[keep], self.against[keep], self.weight[keep],
                          None if self.complete is None else self.complete[keep])  # fmt: skip

    def reweighted(self, weight: Floats) -> Votes:
        """The same entries with other weights; those of weight 0 are left out."""
        return self._with(self.row, self.voter, self.cls, self.against, weight, self.complete).only(weight > 0)

    def _with(self, row: Ints, voter: Ints, cls: Ints, against: Bools, weight: Floats, complete: Bools | None) -> Votes:
        return Votes(rows=self.rows, classes=self.classes, voters=self.voters, row=row, voter=voter, cls=cls, against=against,
                     weight=weight, complete=complete)  # fmt: skip

    def covered(self) -> Bools:
        """Which rows have a vote."""
        return np.bincount(self.row, minlength=self.rows) > 0

    def counts(self) -> Ints:
        """Answers per row: a labeler that names three classes of a row has given one."""
        answers = np.unique(self.row * max(len(self.voters), 1) + self.voter)
        return np.bincount(answers // max(len(self.voters), 1), minlength=self.rows)


NO_CLASS = -1


def votes_of(
    *, rows: int, classes: int, voters: Sequence[Voter], row: object, voter: object, cls: object, against: object = None,
    weight: object = None, complete: object = None,
) -> Votes:  # fmt: skip
    """Votes from anything that numpy reads; `against` defaults to False, `weight` to 1."""
    row_array = np.asarray(row, dtype=np.int64)
    return Votes(
        rows=rows, classes=classes, voters=tuple(voters), row=row_array, voter=np.asarray(voter, dtype=np.int64),
        cls=np.asarray(cls, dtype=np.int64),
        against=np.zeros(len(row_array), dtype=bool) if against is None else np.asarray(against, dtype=bool),
        weight=np.ones(len(row_array)) if weight is None else np.asarray(weight, dtype=np.float64),
        complete=None if complete is None else np.asarray(complete, dtype=bool),
    )  # fmt: skip


def votes_from_matrix(matrix: npt.NDArray[np.integer], classes: int, voters: Sequence[Voter]) -> Votes:
    """Votes from the usual matrix (rows, labelers) of class indexes with -1 for no vote."""
    row, voter = np.nonzero(matrix >= 0)
    return votes_of(rows=len(matrix), classes=classes, voters=voters, row=row, voter=voter, cls=matrix[row, voter])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gold:
    """Trusted labels of training rows: `rows` ascending positions, `members` (gold rows, classes) which classes each row has.

    `estimates`: whether a row came to be gold by chance or with the whole data; only such rows may estimate an accuracy, for
    rows that somebody picked are not like the others.
    """

    rows: Ints
    members: Bools
    estimates: Bools

    def __len__(self) -> int:
        return len(self.rows)

    def classes(self, rows: int) -> Ints:
        """The one class of each of `rows` rows, -1 where there is no gold (single-label)."""
        found = np.full(rows, NO_GOLD, dtype=np.int64)
        found[self.rows] = self.members.argmax(axis=1)
        return found


def no_gold(classes: int) -> Gold:
    """No gold at all."""
    return Gold(rows=np.empty(0, dtype=np.int64), members=np.empty((0, classes), dtype=bool), estimates=np.empty(0, dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """The distinct cases among rows: entries sorted by pattern, each entry one (labeler, class, for or against) `code`.

    `count` rows have each pattern; `gold` is its gold class or -1; `inverse` is the pattern of each row.
    `code_voter`, `code_class`, `code_against` say what a code means.
    """

    pattern: Ints
    code: Ints
    weight: Floats
    count: Floats
    gold: Ints
    inverse: Ints
    code_voter: Ints
    code_class: Ints
    code_against: Bools

    def __len__(self) -> int:
        return len(self.count)


def patterns_of(votes: Votes, gold: Ints) -> Patterns:
    """Groups rows whose votes and gold label are the same. Rows are told apart by a 64-bit sum over their votes."""
    order = np.argsort(votes.row, kind="stable")
    row, weight = votes.row[order], votes.weight[order]
    meaning = (votes.voter[order] * (votes.classes + 1) + votes.cls[order] + 1) * 2 + votes.against[order]
    meanings, code = np.unique(meaning, return_inverse=True)
    signature = _scramble(gold.astype(np.uint64))
    said = code.astype(np.uint64) * np.uint64(1 << 32) + weight.astype(np.float32).view(np.uint32)
    np.add.at(signature, row, _scramble(said))
    _, first, inverse, count = np.unique(signature, return_index=True, return_inverse=True, return_counts=True)
    chosen = np.zeros(votes.rows, dtype=bool)
    chosen[first] = True
    entry = chosen[row]
    return Patterns(
        pattern=inverse[row[entry]], code=code[entry], weight=weight[entry], count=count.astype(np.float64), gold=gold[first],
        inverse=inverse, code_voter=meanings // 2 // (votes.classes + 1), code_class=meanings // 2 % (votes.classes + 1) - 1,
        code_against=(meanings % 2).astype(bool),
    )  # fmt: skip


def quotient(numerator: Floats, denominator: Floats | Ints, otherwise: float) -> Floats:
    """Element by element; `otherwise` where the denominator is 0."""
    result = np.full(numerator.shape, otherwise, dtype=np.float64)
    return np.asarray(np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0))


def _scramble(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spreads numbers over 64 bits (the finaliser of SplitMix64), so that sums of a few tell the sets apart."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
