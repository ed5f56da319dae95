"""What a vote is and which votes are acceptable. Pure: no storage, no protos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.errors import FieldProblem, InvalidFields
from services.common.spec import ProblemSpec

MOST_VOTES = 100_000
"""Votes that one message may carry."""

MOST_PROBLEMS = 20
"""Problems told at once: a person fixes the first few, and the rest are usually the same."""

_LONGEST = 200


class Drawn(StrEnum):
    """How a row came to be voted on. Only `RANDOM` votes may estimate anything."""

    RANDOM = "random"
    GUIDED = "guided"
    FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVote:
    """A vote before it is in the ledger. An empty `vote_id` asks for one to be made."""

    row: int
    labeler: str
    classes: tuple[str, ...]
    against: bool = False
    confidence: float = 1.0
    drawn: Drawn = Drawn.FOUND
    annotator: str = ""
    vote_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVote:
    """A vote as the ledger holds it. `row` is None for feedback whose row wasn't appended yet."""

    position: int
    dataset: str
    row: int | None
    labeler: str
    classes: tuple[str, ...]
    against: bool
    confidence: float
    gold: bool
    drawn: Drawn
    annotator: str
    vote_id: str
    created: datetime
    retracted: datetime | None
    prediction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What one labeler may vote for, and whether its say is gold."""

    labeler: str
    classes: frozenset[str]
    multi_label: bool
    gold: bool

    @classmethod
    def of(cls, labeler: str, spec: ProblemSpec, *, gold: bool) -> Ballot:
        """The ballot of a labeler of this spec."""
        return cls(labeler=labeler, classes=frozenset(spec.class_names), multi_label=spec.multi_label, gold=gold)

    def problem(self, classes: Sequence[str], *, against: bool = False) -> str | None:
        """Why these classes can't be voted for; None where they can."""
        unknown = next((name for name in classes if name not in self.classes), None)
        if unknown is not None:
            known = ", ".join(f"'{name}'" for name in sorted(self.classes)[:12])
            more = ", ..." if len(self.classes) > 12 else ""
            return f"'{unknown[:60]}' is not a class of the spec. The classes are: {known}{more}."
        if len(set(classes)) != len(classes):
            return "names a class twice."
        if against and not classes:
            return "names no class to vote against."
        if not against and not self.multi_label and len(classes) != 1:
            return f"names {len(classes)} classes, but the spec is single-label: name exactly one."
        return None


Key = tuple[str, int, str, bool]
"""(labeler, row, annotator, against): of these, the newest vote stands and replaces the one before."""


def key_of(vote: NewVote) -> Key:
    """What a vote replaces: the same labeler's, same annotator's vote in the same direction on the same row."""
    return (vote.labeler, vote.row, vote.annotator, vote.against)


def check_votes(votes: Sequence[NewVote], ballots: Mapping[str, Ballot], *, row_count: int) -> None:
    """Raises `InvalidFields` naming each wrong vote by its index (`votes[3].row`), at most 20 of them."""
    problems: list[FieldProblem] = []
    for problem in _problems(votes, ballots, row_count):
        problems.append(problem)
        if len(problems) == MOST_PROBLEMS:
            break
    if problems:
        raise InvalidFields(problems)


def _problems(votes: Sequence[NewVote], ballots: Mapping[str, Ballot], row_count: int) -> Iterator[FieldProblem]:
    if len(votes) > MOST_VOTES:
        problem = f"{len(votes):,} votes are more than {MOST_VOTES:,} a message. Send several messages."
        yield FieldProblem(field="votes", problem=problem)
        return
    seen: dict[Key, int] = {}
    ids: set[str] = set()
    for index, vote in enumerate(votes):
        for name, problem in _vote_problems(vote, ballots[vote.labeler], row_count):
            yield FieldProblem(field=f"votes[{index}].{name}", problem=problem)
        if vote.vote_id and vote.vote_id in ids:
            continue
        ids.add(vote.vote_id)
        first = seen.setdefault(key_of(vote), index)
        if first != index and (vote.vote_id or _content(votes[first]) != _content(vote)):
            problem = f"row {vote.row} has another vote of '{vote.labeler}' in this message (votes[{first}])."
            yield FieldProblem(field=f"votes[{index}].row", problem=f"{problem} Put all its classes in one vote.")


def _content(vote: NewVote) -> tuple[tuple[str, ...], float]:
    return vote.classes, vote.confidence


def _vote_problems(vote: NewVote, ballot: Ballot, row_count: int) -> Iterable[tuple[str, str]]:
    if not 0 <= vote.row < row_count:
        last = f"Its rows are 0 to {row_count - 1}." if row_count else "It has no rows."
        yield "row", f"the data set has no row {vote.row}. {last}"
    if (problem := ballot.problem(vote.classes, against=vote.against)) is not None:
        yield "class_names", problem
    if not 0 < vote.confidence <= 1:  # also refuses NaN
        yield "confidence", "must be above 0 and at most 1; leave it out for 1."
    for name, text in (("annotator", vote.annotator), ("vote_id", vote.vote_id)):
        if len(text) > _LONGEST or "\0" in text:
            yield name, f"must be at most {_LONGEST} characters, none of them NUL."
