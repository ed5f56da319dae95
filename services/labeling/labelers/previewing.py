"""Tries a labeler on rows without keeping anything. It sees training rows alone, an even share of each part of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from services.common.database import Database
from services.common.errors import InvalidField
from services.common.frames.kinds import HOLDOUT, ROW, listed
from services.common.frames.parquet import Part, read_manifest, read_part, root_of
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets.model import Version, split_version_name
from services.labeling.datasets.storage import get_version
from services.labeling.labelers import storage
from services.labeling.labelers.handlers import Labelers
from services.labeling.labelers.rules import Labeler, Program, check_definition
from services.labeling.labelers.sandbox import SqlLimits
from services.labeling.labelers.voting import NO_CLASS, Ballots, Voter, ready
from services.labeling.votes.ledger import standing_votes

DEFAULT_ROWS = 10_000
MOST_ROWS = 1_000_000
MOST_EXAMPLES = 10
_BATCH_ROWS = 8_192
_ALMOST_ALL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row that was voted on. `gold` is empty where the row has no gold label."""

    row: int
    class_name: str
    excerpt: str
    gold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a labeler would do."""

    version: Version
    rows: int
    votes: int
    gold_votes: int
    gold_right: int
    examples: tuple[Example, ...]
    warnings: tuple[str, ...]


class Previewing:
    """Safe for many threads."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        labelers: Labelers,
        scratch: Path | None = None,
        limits: SqlLimits | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._labelers = labelers
        self._scratch = scratch
        self._limits = limits or SqlLimits()

    def preview(self, parent: str, draft: Labeler, *, dataset_version: str = "", row_limit: int = 0) -> Preview:
        """Raises `InvalidField`, `InvalidFields`, `UnsafeExpression`, `NotFound`."""
        program = draft.program
        if program is None:
            raise InvalidField("labeler", f"is a {draft.kind} labeler: only those that vote by themselves can be tried out.")
        if not 0 <= row_limit <= MOST_ROWS:
            raise InvalidField("row_limit", f"must be 0 to {MOST_ROWS:,}.")
        spec, _ = self._labelers.check(draft, parent)
        version = self._version(parent, spec, dataset_version)
        check_definition(program, spec, version.schema)
        gold = self._human_gold(version.dataset, spec)
        tally = _Tally(spec, version, gold)
        with ready(program, spec, version.schema, self._scratch, self._limits) as voter:
            for batch in self._batches(version, spec, voter, row_limit or DEFAULT_ROWS):
                tally.add(voter.vote([batch]), batch, voter)
            return tally.preview(voter, program)

    def _version(self, parent: str, spec: ProblemSpec, dataset_version: str) -> Version:
        dataset, number = split_version_name(dataset_version or f"{spec.dataset}/versions/latest", "dataset_version")
        if not dataset.startswith(f"{parent}/"):
            raise InvalidField("dataset_version", f"'{dataset_version}' belongs to another project than '{parent}'.")
        with self._database.reading() as session:
            return get_version(session, dataset, number)

    def _human_gold(self, dataset: str, spec: ProblemSpec) -> pd.DataFrame:
        project = dataset.split("/datasets/")[0]
        with self._database.reading() as session:
            mine = storage.read_labelers(session, project, problem_spec=spec.name)
            trusted = [labeler.name for labeler in mine if labeler.gold]
            standing = standing_votes(session, dataset, trusted, None)
        return standing[standing["gold"] & ~standing["against"]]

    def _batches(self, version: Version, spec: ProblemSpec, voter: Voter, limit: int) -> Iterator[pa.RecordBatch]:
        """At most `limit` training rows, from each part as many as its share of the data."""
        manifest = read_manifest(self._objects, version.object_key)
        columns = list(dict.fromkeys([*voter.columns, *([spec.target_column] if spec.target_column in version.schema else [])]))
        left = limit
        for part in manifest.parts:
            share = min(left, -(-limit * part.rows // max(manifest.row_count, 1)))
            for batch in self._some(version, part, columns, share):
                left -= batch.num_rows
                yield batch

    def _some(self, version: Version, part: Part, columns: list[str], share: int) -> Iterator[pa.RecordBatch]:
        if share <= 0:
            return
        root = root_of(version.object_key)
        for batch in read_part(self._objects, root, part, version.schema, columns, batch_rows=_BATCH_ROWS):
            training = batch.filter(pc.invert(batch.column(HOLDOUT))).slice(0, share)
            share -= training.num_rows
            if training.num_rows:
                yield training
            if share <= 0:
                return


class _Tally:
    """Counts votes against gold; keeps the first few rows voted on."""

    def __init__(self, spec: ProblemSpec, version: Version, gold: pd.DataFrame) -> None:
        self._spec = spec
        self._version = version
        self._human = dict(zip(gold["row"].tolist(), gold["classes"].tolist(), strict=True))
        self._rows = self._votes = self._gold = self._right = 0
        self._examples: list[Example] = []
        self._classes: Counter[str] = Counter()

    def add(self, ballots: Ballots, batch: pa.RecordBatch, voter: Voter) -> None:
        """Takes the votes on a batch; gold is looked up for rows voted on alone."""
        self._rows += batch.num_rows
        positions = np.unique(ballots.at)
        self._votes += len(positions)
        taken = batch.take(pa.array(positions)).to_pylist()
        golds = {int(at): self._gold_of(row) for at, row in zip(positions, taken, strict=True)}
        named = {int(at): row for at, row in zip(positions, taken, strict=True)}
        for at, index in zip(ballots.at.tolist(), ballots.cls.tolist(), strict=True):
            name = "" if index == NO_CLASS else self._spec.class_names[index]
            self._classes[name] += 1
            gold = golds[at]
            if gold is not None and name:
                self._gold += 1
                self._right += (name in gold) != ballots.against
            if len(self._examples) < MOST_EXAMPLES:
                shown = "" if gold is None else self._spec.label_separator.join(gold)
                row = named[at]
                self._examples.append(Example(row=row[ROW], class_name=name, excerpt=voter.excerpt(row), gold=shown))

    def preview(self, voter: Voter, program: Program) -> Preview:
        """The sums, and what a person should look at."""
        return Preview(
            version=self._version, rows=self._rows, votes=self._votes, gold_votes=self._gold, gold_right=self._right,
            examples=tuple(self._examples), warnings=tuple(self._warnings(voter)),
        )  # fmt: skip

    def _gold_of(self, row: dict[str, object]) -> tuple[str, ...] | None:
        if row[ROW] in self._human:
            found: tuple[str, ...] = self._human[row[ROW]]
            return found
        label = self._spec.read_label(row.get(self._spec.target_column)) if self._spec.target_column else None
        return None if label is None else tuple(self._spec.class_names[i] for i in label)

    def _warnings(self, voter: Voter) -> Iterator[str]:
        if voter.strays:
            shown = listed([value for value, _ in voter.strays.most_common(5)])
            yield f"{len(voter.strays)} different answers are no class and count as abstentions: {shown}."
        if not self._rows:
            yield "There is no training row to try it on."
        elif not self._votes:
            yield f"It votes on none of {self._rows:,} rows."
        elif self._votes > _ALMOST_ALL * self._rows and len(self._classes) == 1:
            yield f"It votes for the same class on {self._votes:,} of {self._rows:,} rows: that tells hardly anything."
        if self._votes and not self._gold:
            yield "No row that it votes on has a gold label. Label ten of them to know how good it is."
        elif self._gold and self._right * len(self._spec.classes) <= self._gold:
            yield f"It is right on {self._right:,} of {self._gold:,} gold rows, which is no better than guessing."
