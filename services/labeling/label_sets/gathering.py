"""Gathers what a label set is made of: the training rows, their gold labels, and all votes, as arrays.

Gold comes from the target column and from trusted people. On training rows a person's answer corrects the column; on held-out
rows the column has the last word, so that what is measured stays the same. Label models see training rows alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from services.common.frames.kinds import HOLDOUT, ROW
from services.common.frames.parquet import read_version
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.aggregation.votes import NO_CLASS, Bools, Gold, Ints, Voter, Votes, votes_of
from services.labeling.datasets.model import Version
from services.labeling.labelers.blocks import RowVotes, join, read_block
from services.labeling.labelers.rules import Labeler
from services.labeling.labelers.storage import VoteBlock

Members = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The rows of a version: numbers, which are held out, and the target's meaning (code per row, -1: none)."""

    row: Ints
    holdout: Bools
    target: npt.NDArray[np.int64]
    meanings: tuple[Members, ...]

    @property
    def training(self) -> Ints:
        """Numbers of the training rows, ascending; a position in this array is a row of the label model."""
        return self.row[~self.holdout]

    def without(self, rows: Ints) -> Table:
        """The table but for the rows with these numbers."""
        kept = ~np.isin(self.row, rows)
        return replace(self, row=self.row[kept], holdout=self.holdout[kept], target=self.target[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanGold:
    """One trusted answer: the classes, and whether its row was drawn at random."""

    classes: Members
    random: bool


def read_table(objects: ObjectStore, version: Version, spec: ProblemSpec) -> Table:
    """Reads row numbers, the holdout mark and the target column, nothing else."""
    wanted = [spec.target_column] if spec.target_column in version.schema else []
    rows, held, codes = [], [], []
    meanings: dict[Members, int] = {}
    for batch in read_version(objects, version.object_key, wanted):
        rows.append(batch.column(ROW).to_numpy())
        held.append(batch.column(HOLDOUT).to_numpy(zero_copy_only=False))
        codes.append(_codes(batch.column(wanted[0]), spec, meanings) if wanted else np.full(batch.num_rows, -1))
    return Table(
        row=np.concatenate([np.empty(0, dtype=np.int64), *rows]), holdout=np.concatenate([np.empty(0, dtype=bool), *held]),
        target=np.concatenate([np.empty(0, dtype=np.int64), *codes]), meanings=tuple(meanings),
    )  # fmt: skip


def _codes(column: pa.Array, spec: ProblemSpec, meanings: dict[Members, int]) -> npt.NDArray[np.int64]:
    encoded = column.dictionary_encode()
    own = np.full(len(encoded.dictionary) + 1, -1, dtype=np.int64)  # the last one stands for missing
    for index, value in enumerate(encoded.dictionary.to_pylist()):
        if (label := spec.read_label(value)) is not None:
            own[index] = meanings.setdefault(label, len(meanings))
    places: Ints = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    return own[places]


def human_gold(standing: pd.DataFrame, spec: ProblemSpec) -> tuple[dict[int, HumanGold], int]:
    """Trusted answers by row, those of several people decided by majority; and how many rows are undecided."""
    index = {name: i for i, name in enumerate(spec.class_names)}
    trusted = standing[standing["gold"] & ~standing["against"]]
    answers: dict[int, Counter[Members]] = defaultdict(Counter)
    random: dict[int, bool] = {}
    for row, classes, drawn in zip(trusted["row"], trusted["classes"], trusted["drawn"], strict=True):
        answers[row][tuple(sorted(index[name] for name in classes))] += 1
        random[row] = random.get(row, True) and drawn == "random"
    decided: dict[int, HumanGold] = {}
    for row, counts in answers.items():
        (classes, most), *others = counts.most_common(2)
        if not others or others[0][1] < most:
            decided[row] = HumanGold(classes=classes, random=random[row])
    return decided, len(answers) - len(decided)


def training_gold(table: Table, human: Mapping[int, HumanGold], spec: ProblemSpec, *, ignore_target: bool) -> Gold:
    """Gold of training rows, by position."""
    target = table.target[~table.holdout]
    return _gold(table.training, np.full_like(target, -1) if ignore_target else target, table, human, spec, human_first=True)


def holdout_gold(table: Table, human: Mapping[int, HumanGold], spec: ProblemSpec) -> tuple[Ints, Gold]:
    """Numbers of the held-out rows, and their gold by position in them."""
    rows = table.row[table.holdout]
    return rows, _gold(rows, table.target[table.holdout], table, human, spec, human_first=False)


def _gold(
    rows: Ints, target: Ints, table: Table, human: Mapping[int, HumanGold], spec: ProblemSpec, *, human_first: bool
) -> Gold:
    said = {position: gold for position, gold in _positions(rows, human) if human_first or target[position] < 0}
    from_target = target >= 0
    is_gold = from_target.copy()
    is_gold[list(said)] = True
    places = np.flatnonzero(is_gold).astype(np.int64)
    members = np.zeros((len(places), len(spec.classes)), dtype=bool)
    known = np.zeros((len(table.meanings) + 1, len(spec.classes)), dtype=bool)
    for code, meaning in enumerate(table.meanings):
        known[code, list(meaning)] = True
    members[:] = known[target[places]]  # code -1 is the last row: no class
    estimates = np.ones(len(places), dtype=bool)
    for position, gold in said.items():
        at = int(np.searchsorted(places, position))
        members[at] = False
        members[at, list(gold.classes)] = True
        estimates[at] = gold.random
    return Gold(rows=places, members=members, estimates=estimates)


def _positions(rows: Ints, human: Mapping[int, HumanGold]) -> list[tuple[int, HumanGold]]:
    wanted = np.array(sorted(human), dtype=np.int64)
    places = np.searchsorted(rows, wanted)
    found = (places < len(rows)) & (rows[np.minimum(places, max(len(rows) - 1, 0))] == wanted) if len(rows) else wanted < 0
    return [(int(place), human[int(row)]) for place, row in zip(places[found], wanted[found], strict=True)]


def gather_votes(
    objects: ObjectStore, table: Table, spec: ProblemSpec, labelers: Sequence[Labeler], blocks: Sequence[VoteBlock],
    standing: pd.DataFrame, *, whole: set[str],
) -> Votes:  # fmt: skip
    """All votes on training rows that aren't gold. `whole`: programs that have read every part of the version."""
    number = {labeler.name: index for index, labeler in enumerate(labelers)}
    pieces = [(read_block(objects, block), number[block.labeler]) for block in blocks if block.labeler in number]
    voted = join([votes for votes, _ in pieces])
    by = np.concatenate([np.empty(0, dtype=np.int64), *(np.full(len(votes.row), index) for votes, index in pieces)])
    ledger, ledger_by, confidence = _from_ledger(standing, spec, number)
    row = np.concatenate([voted.row, ledger.row])
    training = table.training
    place = np.searchsorted(training, row)
    kept = (place < len(training)) & (training[np.minimum(place, len(training) - 1)] == row) if len(training) else row < 0
    every = join([voted, ledger])
    return votes_of(
        rows=len(training), classes=len(spec.classes),
        voters=[_voter(labeler, reads_every_row=labeler.name in whole) for labeler in labelers], row=place[kept],
        voter=np.concatenate([by, ledger_by])[kept], cls=every.cls[kept], against=every.against[kept],
        weight=np.concatenate([np.ones(len(voted.row)), confidence])[kept], complete=every.complete[kept],
    )  # fmt: skip


def _voter(labeler: Labeler, *, reads_every_row: bool) -> Voter:
    return Voter(name=labeler.name, reads_every_row=reads_every_row, capped=labeler.kind == "feedback")


def _from_ledger(standing: pd.DataFrame, spec: ProblemSpec, number: Mapping[str, int]) -> tuple[RowVotes, Ints, np.ndarray]:
    """The ledger's votes as entries, one per class named; trusted answers are gold and no votes."""
    index = {name: i for i, name in enumerate(spec.class_names)}
    votes = standing[~(standing["gold"] & ~standing["against"]) & standing["labeler"].isin(number)]
    sizes = votes["classes"].map(lambda classes: max(len(classes), 1)).to_numpy(dtype=np.int64)
    named = [index[name] if name is not None else NO_CLASS for classes in votes["classes"] for name in (classes or (None,))]
    against = np.repeat(votes["against"].to_numpy(dtype=bool), sizes)
    entries = RowVotes(
        row=np.repeat(votes["row"].to_numpy(dtype=np.int64), sizes), cls=np.array(named, dtype=np.int32), against=against,
        complete=~against if spec.multi_label else np.zeros(len(against), dtype=bool),
    )  # fmt: skip
    by = np.repeat(votes["labeler"].map(number).to_numpy(dtype=np.int64), sizes)
    return entries, by, np.repeat(votes["confidence"].to_numpy(dtype=np.float64), sizes)
