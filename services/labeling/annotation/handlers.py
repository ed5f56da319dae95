"""Which row a person sees next, what becomes of the answer, and how far the labeling is."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sqlalchemy.orm import Session

from services.common import names
from services.common.database import Database
from services.common.errors import FailedPrecondition, InvalidField, NotFound
from services.common.frames.kinds import Schema
from services.common.spec import ProblemSpec
from services.labeling.annotation.doubt import QuickModel, explain
from services.labeling.annotation.features import Floats
from services.labeling.annotation.pool import RowPool
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.model import DATASET, Version
from services.labeling.datasets.rows import values_of
from services.labeling.datasets.storage import get_version
from services.labeling.labelers.handlers import Labeler
from services.labeling.specs.handlers import get_spec
from services.labeling.votes import ledger
from services.labeling.votes.handlers import voting_labeler
from services.labeling.votes.ledger import Answer
from services.labeling.votes.rules import Ballot, Drawn, KeptVote, NewVote
from services.labeling.votes.storage import hold

MOST_CANDIDATES = 5_000
"""Rows among which the most doubtful is looked for: more cost time between two clicks and find nothing more doubtful."""

MOST_ANSWERS = 1_000
"""Answers that the quick model learns from, the newest ones."""

_LONGEST_NAME = 200


class Strategy(StrEnum):
    """How the next row is picked."""

    RANDOM = "random"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row to answer: its values without the target, how it was drawn, and why."""

    dataset: str
    row: int
    holdout: bool
    values: dict[str, object]
    drawn: Drawn
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What a person sees next. `note` says where another strategy than the one asked for was used, and why."""

    rows: tuple[Question, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far labeling is. `classes` holds (class, training rows, holdout rows)."""

    rows: int
    answered_rows: int
    annotators: tuple[tuple[str, int], ...]
    classes: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Pick:
    row: int
    drawn: Drawn
    why: str


class Annotation:
    """Human labels on all data sets. Safe for many threads."""

    def __init__(self, database: Database, datasets: Datasets) -> None:
        self._database = database
        self._datasets = datasets
        self._pool = RowPool(datasets)

    def next_rows(
        self, dataset: str, *, problem_spec: str, labeler: str, annotator: str, strategy: Strategy, count: int,
        holdout: bool | None,
    ) -> Questions:  # fmt: skip
        """Rows that this annotator hasn't answered. Raises `NotFound`, `InvalidField`."""
        with self._database.reading() as session:
            version = get_version(session, dataset, None)
            human, spec = _human(session, dataset, labeler)
            if human.problem_spec != problem_spec:
                problem = f"'{labeler}' answers for '{human.problem_spec}': name that spec, or another labeler."
                raise InvalidField("problem_spec", problem)
            answers = ledger.answers(session, dataset, labeler)
        mine = {answer.row for answer in answers if answer.annotator == annotator}
        side = False if holdout is None and strategy is Strategy.MARGIN else holdout
        candidates = self._pool.candidates(version, mine, holdout=side)
        picks: list[_Pick] = []
        note = "Every row is answered." if not len(candidates) else "The rows are drawn at random."
        if strategy is Strategy.MARGIN and len(candidates):
            picks, note = self._by_margin(version, spec, answers, candidates, count)
        if not picks and len(candidates):
            chosen = _generator().choice(candidates, size=min(count, len(candidates)), replace=False)
            picks = [_Pick(int(row), Drawn.RANDOM, "drawn at random") for row in chosen]
        return Questions(rows=tuple(self._questions(version, spec, picks)), note=note)

    def submit(self, dataset: str, *, labeler: str, row: int, classes: Sequence[str], annotator: str, drawn: Drawn) -> KeptVote:
        """Keeps one answer; it replaces this annotator's former one. Raises `InvalidField`, `NotFound`."""
        _check_name(annotator)
        with self._database.session() as session:
            version = get_version(session, dataset, None)
            human, spec = _human(session, dataset, labeler)
            if not 0 <= row < version.row_count:
                raise NotFound("row", version.row_name(row), f"The data set's rows are 0 to {version.row_count - 1}.")
            ballot = Ballot.of(labeler, spec, gold=human.gold)
            if (problem := ballot.problem(classes)) is not None:
                raise InvalidField("class_names", problem)
            vote = NewVote(row=row, labeler=labeler, classes=tuple(classes), drawn=drawn, annotator=annotator)
            ledger.append_votes(session, dataset, [vote], {labeler: ballot})
            return ledger.list_votes(
                session, dataset, limit=1, labeler=labeler, row=row, annotator=annotator, standing_only=True
            )[0]

    def undo(self, dataset: str, *, labeler: str, annotator: str) -> KeptVote:
        """Retracts the annotator's newest answer and answers it. Raises `FailedPrecondition` (`NOTHING_TO_UNDO`)."""
        with self._database.session() as session:
            get_version(session, dataset, None)
            _human(session, dataset, labeler)
            hold(session)
            newest = ledger.list_votes(session, dataset, limit=1, labeler=labeler, annotator=annotator, standing_only=True)
            if not newest:
                raise FailedPrecondition(f"'{annotator}' has no answer to undo with '{labeler}'.", reason="NOTHING_TO_UNDO")
            position = newest[0].position
            ledger.retract(session, dataset, [position], why="undone")
            return ledger.list_votes(session, dataset, limit=1, before=position + 1)[0]

    def progress(self, dataset: str, *, labeler: str) -> Progress:
        """Raises `NotFound`."""
        with self._database.reading() as session:
            version = get_version(session, dataset, None)
            _, spec = _human(session, dataset, labeler, retired=True)
            answers = ledger.answers(session, dataset, labeler)
        held_out = self._pool.held_out(version)
        annotators = Counter(annotator for annotator, _ in {(a.annotator, a.row) for a in answers})
        pairs = {(name, answer.row) for answer in answers for name in answer.classes}
        counts = Counter((name, bool(held_out[row])) for name, row in pairs)
        return Progress(
            rows=version.row_count,
            answered_rows=len({answer.row for answer in answers}),
            annotators=tuple(annotators.most_common()),
            classes=tuple((name, counts[name, False], counts[name, True]) for name in spec.class_names),
        )

    def _by_margin(
        self, version: Version, spec: ProblemSpec, answers: Sequence[Answer], candidates: np.ndarray, count: int
    ) -> tuple[list[_Pick], str]:
        held_out = self._pool.held_out(version)
        usable = [a for a in answers if not held_out[a.row] and set(a.classes) <= set(spec.class_names)][-MOST_ANSWERS:]
        classes = _told_apart(spec, usable)
        if len(classes) < (1 if spec.multi_label else 2):
            return [], "Picked at random: a model needs answers of at least two classes on training rows to be in doubt."
        targets = _targets(classes, usable)
        # The same sample while the version stays, so that its vectors are still known at the next click.
        rows = np.random.default_rng(0).permutation(version.row_count)
        sample = rows[np.isin(rows, candidates)][:MOST_CANDIDATES]
        vectors = self._pool.vectors(version, spec, [*(a.row for a in usable), *sample.tolist()])
        answered, unanswered = vectors[: len(usable)], vectors[len(usable) :]
        model = QuickModel(answered, targets, multi_label=spec.multi_label, background=unanswered)
        doubts = model.doubts(unanswered)
        order = sorted(range(len(doubts)), key=lambda i: doubts[i].margin)[:count]
        picks = [_Pick(int(sample[i]), Drawn.GUIDED, explain(doubts[i], classes, multi_label=spec.multi_label)) for i in order]
        return picks, f"The rows that a quick model, trained on {len(usable)} answers, is least sure of, among {len(sample)}."

    def _questions(self, version: Version, spec: ProblemSpec, picks: Sequence[_Pick]) -> list[Question]:
        shown = Schema(tuple(column for column in version.schema if column.name != spec.target_column))
        table = self._datasets.read_rows(version, [pick.row for pick in picks], shown.names)
        values = [row for batch in table.to_batches() for row in values_of(batch, shown)]
        numbers, held_out = table.column("__row").to_pylist(), table.column("__holdout").to_pylist()
        by_row = {number: (held, row) for number, held, row in zip(numbers, held_out, values, strict=True)}
        return [
            Question(
                dataset=version.dataset, row=pick.row, holdout=by_row[pick.row][0], values=by_row[pick.row][1],
                drawn=pick.drawn, why=pick.why,
            )
            for pick in picks
        ]  # fmt: skip


def _human(session: Session, dataset: str, name: str, *, retired: bool = False) -> tuple[Labeler, ProblemSpec]:
    names.parse(DATASET, dataset, "parent")
    labeler = voting_labeler(session, dataset, name, retired=retired)
    if labeler.kind != "human":
        raise InvalidField(
            "labeler", f"'{name}' is of the kind '{labeler.kind}'. Create a human labeler for answers of people."
        )
    return labeler, get_spec(session, labeler.problem_spec)


def _check_name(annotator: str) -> None:
    if not annotator or len(annotator) > _LONGEST_NAME or "\0" in annotator:
        raise InvalidField("annotator", f"must have 1 to {_LONGEST_NAME} characters, none of them NUL.")


def _told_apart(spec: ProblemSpec, answers: Sequence[Answer]) -> list[str]:
    """The classes that the answers tell apart, in the spec's order: seen at all; multi-label, both given and not given."""
    counts = Counter(name for answer in answers for name in answer.classes)
    most = len(answers) - 1 if spec.multi_label else len(answers)
    return [name for name in spec.class_names if 0 < counts[name] <= most]


def _targets(classes: Sequence[str], answers: Sequence[Answer]) -> Floats:
    index = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(answers), len(classes)), dtype=np.float32)
    for row, answer in enumerate(answers):
        targets[row, [index[name] for name in answer.classes if name in index]] = 1
    return targets


def _generator() -> np.random.Generator:
    return np.random.default_rng(secrets.randbits(64))
