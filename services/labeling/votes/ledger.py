"""Reading and writing the ledger: what stands at a position, appending votes, retracting them, listing them."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.common.database import UtcDateTime, now
from services.common.listing import Asked, Collection, Sort, choice, entries, flag, number, text, time
from services.labeling.votes.rules import Ballot, Drawn, KeptVote, Key, NewVote, key_of
from services.labeling.votes.storage import Entry, LedgerEntry, chunks, hold, insert_entries

Turn = tuple[str, int, str]
"""(labeler, row, annotator)"""

COLUMNS = ("row", "labeler", "classes", "against", "confidence", "gold", "drawn")

_Placement = aliased(LedgerEntry, name="placement")
_Retraction = aliased(LedgerEntry, name="retraction")
_any_row: sa.ColumnElement[Any] = sa.func.coalesce(LedgerEntry.row, _Placement.row)

VOTES = Collection(
    {
        "row": number(_any_row, nullable=True), "labeler": text(LedgerEntry.labeler),
        "class_names": entries(LedgerEntry.classes),
        "against": flag(LedgerEntry.against), "confidence": number(LedgerEntry.confidence), "gold": flag(LedgerEntry.gold),
        "drawn": choice(LedgerEntry.drawn, {drawn.value: drawn.value for drawn in Drawn}),
        "annotator": text(LedgerEntry.annotator), "vote_id": text(LedgerEntry.vote_id, nullable=True),
        "create_time": time(LedgerEntry.created), "retract_time": time(_Retraction.created, nullable=True),
    },
    key=[Sort(name="position", column=LedgerEntry.position, descending=True)],
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of the votes of one call."""

    written: int
    repeated: int


class Answer(NamedTuple):
    """What an annotator says about a row."""

    row: int
    annotator: str
    classes: tuple[str, ...]


def newest_position(session: Session, dataset: str) -> int:
    """Position of the data set's newest entry; 0 where it has none."""
    return int(session.scalar(sa.select(sa.func.max(LedgerEntry.position)).where(LedgerEntry.dataset == dataset)) or 0)


def standing_votes(session: Session, dataset: str, labelers: Sequence[str] | None, up_to: int | None) -> pd.DataFrame:
    """The votes that count at position `up_to` (None: now), in ledger order.

    Columns: `row` int64, `labeler` full name, `classes` tuple of class names, `against` bool, `confidence` float64, `gold`
    bool, `drawn` (`random`, `guided`, `found`). Retracted and replaced votes are left out; feedback counts once it has a row.
    `labelers` None means all.
    """
    vote = LedgerEntry
    query = (
        sa.select(
            sa.func.coalesce(vote.row, _Placement.row).label("row"),
            vote.labeler, vote.classes, vote.against, vote.confidence, vote.gold, vote.drawn,
        )
        .outerjoin(_Placement, _about(_Placement, Entry.PLACEMENT, up_to))
        .where(vote.kind == Entry.VOTE, vote.dataset == dataset, sa.func.coalesce(vote.row, _Placement.row).is_not(None))
        .where(~sa.exists().where(_about(_Retraction, Entry.RETRACTION, up_to)))
        .order_by(vote.position)
    )  # fmt: skip
    if up_to is not None:
        query = query.where(vote.position <= up_to)
    if labelers is not None:
        query = query.where(vote.labeler.in_(labelers))
    frame = pd.DataFrame(session.execute(query).all(), columns=list(COLUMNS))
    frame["classes"] = pd.Series([classes_of(text) for text in frame["classes"]], dtype=object)
    kinds = {"row": "int64", "against": bool, "confidence": "float64", "gold": bool}
    return frame.astype(kinds)


def append_votes(session: Session, dataset: str, votes: Sequence[NewVote], ballots: Mapping[str, Ballot]) -> Written:
    """Appends checked votes; each replaces what the same labeler and annotator said before about the row.

    A vote whose id is there already is left out, and so is one without an id that says what stands already: a call that is
    sent twice changes nothing.
    """
    hold(session)
    standing, turns = _history(session, dataset, votes)
    taken = _taken(session, dataset, [vote.vote_id for vote in votes if vote.vote_id])
    fresh: list[NewVote] = []
    replaced: list[int] = []
    for vote in votes:
        key = key_of(vote)
        before = standing.get(key)
        if vote.vote_id in taken or (not vote.vote_id and before is not None and before.says(vote)):
            continue
        if before is not None and before.position:
            replaced.append(before.position)
        standing[key] = _Standing(position=0, classes=vote.classes, confidence=vote.confidence)
        fresh.append(vote)
        if vote.vote_id:
            taken.add(vote.vote_id)
    retract(session, dataset, replaced, why="replaced by a later vote")
    ids = _ids(session, dataset, fresh, turns)
    time = now()
    insert_entries(session, [_entry(dataset, vote, vote_id, ballots, time) for vote, vote_id in zip(fresh, ids, strict=True)])
    return Written(written=len(fresh), repeated=len(votes) - len(fresh))


def retract(session: Session, dataset: str, positions: Sequence[int], *, why: str = "") -> int:
    """Appends retractions of those votes that aren't retracted yet; answers how many. Call `hold` first."""
    done: set[int] = set()
    for chunk in chunks(positions):
        query = sa.select(LedgerEntry.target).where(LedgerEntry.target.in_(chunk), LedgerEntry.kind == Entry.RETRACTION)
        done.update(target for target in session.scalars(query) if target is not None)
    left = [position for position in dict.fromkeys(positions) if position not in done]
    labelers: dict[int, str] = {}
    for chunk in chunks(left):
        found = session.execute(sa.select(LedgerEntry.position, LedgerEntry.labeler).where(LedgerEntry.position.in_(chunk)))
        labelers.update((position, labeler) for position, labeler in found)
    time = now()
    insert_entries(
        session,
        [
            {"kind": Entry.RETRACTION, "dataset": dataset, "labeler": labelers[p], "target": p, "why": why, "created": time}
            for p in left
        ],
    )
    return len(left)


def known_positions(session: Session, dataset: str, positions: Sequence[int]) -> set[int]:
    """Which of these positions are votes of the data set."""
    found: set[int] = set()
    for chunk in chunks(positions):
        query = sa.select(LedgerEntry.position).where(
            LedgerEntry.position.in_(chunk), LedgerEntry.dataset == dataset, LedgerEntry.kind == Entry.VOTE
        )
        found.update(session.scalars(query))
    return found


def page_of_votes(
    session: Session, dataset: str, ask: Asked, *, labeler: str = "", row: int | None = None
) -> tuple[list[KeptVote], str]:
    """A page of votes, newest first, and the token of the next."""
    query = _kept(dataset)
    if labeler:
        query = query.where(LedgerEntry.labeler == labeler)
    if row is not None:
        query = query.where(_any_row == row)
    rows, token = VOTES.page(session, query, ask, scope=f"{dataset}\n{labeler}\n{row}")
    return [_read(*found) for found in rows], token


def list_votes(
    session: Session, dataset: str, *, limit: int, before: int | None = None, labeler: str = "", row: int | None = None,
    annotator: str | None = None, standing_only: bool = False,
) -> list[KeptVote]:  # fmt: skip
    """Votes newest first, at most `limit`, with positions below `before`."""
    query = _kept(dataset).order_by(LedgerEntry.position.desc()).limit(limit)
    if before is not None:
        query = query.where(LedgerEntry.position < before)
    if labeler:
        query = query.where(LedgerEntry.labeler == labeler)
    if row is not None:
        query = query.where(_any_row == row)
    if annotator is not None:
        query = query.where(LedgerEntry.annotator == annotator)
    if standing_only:
        query = query.where(_Retraction.position.is_(None))
    return [_read(*found) for found in session.execute(query)]


def answers(session: Session, dataset: str, labeler: str) -> list[Answer]:
    """What stands now of one labeler for classes (not against them), oldest first."""
    vote = LedgerEntry
    query = (
        sa.select(vote.row, vote.annotator, vote.classes)
        .where(vote.kind == Entry.VOTE, vote.dataset == dataset, vote.labeler == labeler, vote.row.is_not(None))
        .where(~vote.against, ~sa.exists().where(_about(_Retraction, Entry.RETRACTION, None)))
        .order_by(vote.position)
    )
    return [Answer(row, annotator, classes_of(text)) for row, annotator, text in session.execute(query) if row is not None]


def classes_of(text: str) -> tuple[str, ...]:
    """Class names as the table holds them."""
    return _decoded(text)


def classes_text(classes: Sequence[str]) -> str:
    """Inverse of `classes_of`."""
    return _encoded(tuple(classes))


def by_observation() -> tuple[sa.ColumnElement[Any], ...]:
    """The order in which labels became known: by when they were observed, and at the same moment as they came."""
    observed = sa.func.coalesce(LedgerEntry.observed, LedgerEntry.created, type_=UtcDateTime())
    return observed, LedgerEntry.position.expression


@dataclass(frozen=True, slots=True)
class _Standing:
    position: int
    classes: tuple[str, ...]
    confidence: float

    def says(self, vote: NewVote) -> bool:
        return self.classes == vote.classes and self.confidence == vote.confidence


@lru_cache(maxsize=4096)
def _decoded(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4096)
def _encoded(classes: tuple[str, ...]) -> str:
    return json.dumps(classes, ensure_ascii=False)


def _about(entry: type[LedgerEntry], kind: Entry, up_to: int | None) -> sa.ColumnElement[bool]:
    """Whether `entry` is of this kind and about the vote, at a position that counts."""
    condition = sa.and_(entry.target == LedgerEntry.position, entry.kind == kind)
    return condition if up_to is None else sa.and_(condition, entry.position <= up_to)


def _kept(dataset: str) -> sa.Select[LedgerEntry, int | None, datetime]:
    return (
        sa.select(LedgerEntry, _Placement.row, _Retraction.created)
        .outerjoin(_Placement, _about(_Placement, Entry.PLACEMENT, None))
        .outerjoin(_Retraction, _about(_Retraction, Entry.RETRACTION, None))
        .where(LedgerEntry.kind == Entry.VOTE, LedgerEntry.dataset == dataset)
    )


def _read(entry: LedgerEntry, placed_row: int | None, retracted: datetime | None) -> KeptVote:
    subject = entry.subject or ""
    return KeptVote(
        position=entry.position, dataset=entry.dataset, row=placed_row if entry.row is None else entry.row,
        labeler=entry.labeler, classes=classes_of(entry.classes), against=entry.against, confidence=entry.confidence,
        gold=entry.gold, drawn=Drawn(entry.drawn), annotator=entry.annotator, vote_id=entry.vote_id or "",
        created=entry.created, retracted=retracted, prediction="" if subject.startswith("event:") else subject,
    )  # fmt: skip


def _history(session: Session, dataset: str, votes: Sequence[NewVote]) -> tuple[dict[Key, _Standing], Counter[Turn]]:
    """What stands now under each key that these votes could replace, and how often each annotator answered each row."""
    standing: dict[Key, _Standing] = {}
    turns: Counter[Turn] = Counter()
    for labeler in {vote.labeler for vote in votes}:
        rows = [vote.row for vote in votes if vote.labeler == labeler]
        vote = LedgerEntry
        query = (
            sa.select(
                vote.position, vote.row, vote.annotator, vote.against, vote.classes, vote.confidence, _Retraction.position
            )
            .outerjoin(_Retraction, _about(_Retraction, Entry.RETRACTION, None))
            .where(vote.kind == Entry.VOTE, vote.dataset == dataset, vote.labeler == labeler)
            .where(vote.row.between(min(rows), max(rows)))
        )
        for position, row, annotator, against, classes, confidence, retracted in session.execute(query):
            if row is None:
                continue
            turns[(labeler, row, annotator)] += 1
            if retracted is None:
                standing[(labeler, row, annotator, against)] = _Standing(position, classes_of(classes), confidence)
    return standing, turns


def _taken(session: Session, dataset: str, ids: Sequence[str]) -> set[str]:
    taken: set[str] = set()
    for chunk in chunks(ids):
        query = sa.select(LedgerEntry.vote_id).where(LedgerEntry.dataset == dataset, LedgerEntry.vote_id.in_(chunk))
        taken.update(found for found in session.scalars(query) if found is not None)
    return taken


def _ids(session: Session, dataset: str, votes: Sequence[NewVote], turns: Counter[Turn]) -> list[str]:
    """The votes' ids, those without one made from labeler, row, annotator and turn; never one that is taken."""
    made: list[str] = []
    for vote in votes:
        who = (vote.labeler, vote.row, vote.annotator)
        turns[who] += 1
        made.append(vote.vote_id or f"{vote.labeler.rpartition('/')[2]}/{vote.row}/{vote.annotator}/{turns[who]}")
    given = {vote.vote_id for vote in votes}
    own = [made_id for made_id, vote in zip(made, votes, strict=True) if not vote.vote_id]
    taken = _taken(session, dataset, own) | given
    return [f"{m}-{secrets.token_hex(4)}" if not v.vote_id and m in taken else m for m, v in zip(made, votes, strict=True)]


def _entry(dataset: str, vote: NewVote, vote_id: str, ballots: Mapping[str, Ballot], time: datetime) -> dict[str, object]:
    return {
        "kind": Entry.VOTE, "dataset": dataset, "labeler": vote.labeler, "row": vote.row, "vote_id": vote_id,
        "classes": classes_text(vote.classes), "against": vote.against, "confidence": vote.confidence,
        "gold": ballots[vote.labeler].gold, "drawn": vote.drawn, "annotator": vote.annotator, "created": time,
    }  # fmt: skip
