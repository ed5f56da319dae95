"""The cut of a regrowth: feedback up to exactly the given offsets becomes rows, placed votes and a new label set.

Three steps, each one transaction, each known to be done or not: a kill at any moment and a repeated call end in the same
label set, with every row appended once.

    PLANNED   the votes that this cut counts for the first time are claimed; no other cut can claim them
    PLACED    their subjects' rows are appended, each vote is placed on its row, replaced labels are retracted; the ledger's
              position is noted, so later votes change nothing
    DONE      the label set is made from the ledger up to that position
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.common.database import Database, now
from services.common.errors import FailedPrecondition, RequestIdReused
from services.common.events.port import PREDICTIONS
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.model import Origin, Version
from services.labeling.feedback.lag import applied
from services.labeling.feedback.rows import fitted_rows
from services.labeling.feedback.rules import Reason
from services.labeling.feedback.storage import CutRow, CutVote, SubjectRow, UnmatchedRow
from services.labeling.votes.ledger import by_observation, newest_position, retract
from services.labeling.votes.storage import Entry, LedgerEntry, chunks, hold, insert_entries

Offsets = Mapping[tuple[str, int], int]


class State(StrEnum):
    """How far a cut is."""

    PLANNED = "planned"
    PLACED = "placed"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for. `dataset` is the base label set's; `offsets` are the first records that don't count."""

    model: str
    base_label_set: str
    dataset: str
    offsets: Offsets
    request_id: str
    fingerprint: str
    reached: Offsets = field(default_factory=dict)
    """How far the consumer group has come by the log's own account: dead letters count as applied."""
    predictions: Offsets = field(default_factory=dict)
    """Where the predictions ended when the cut was first asked for: feedback that waits may still be joined by these."""
    reached_predictions: Offsets = field(default_factory=dict)
    """As `reached`, of the predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cut as it stands."""

    id: int
    model: str
    fingerprint: str
    base_label_set: str
    dataset: str
    state: State
    dataset_version: str
    up_to: int | None
    labelers: tuple[str, ...]
    label_set: str
    appended_rows: int
    feedback_votes: int


def find(session: Session, order: Order) -> Cut | None:
    """The cut of an earlier call with this request_id. Raises `RequestIdReused` where that asked for something else."""
    mine = sa.select(CutRow).where(CutRow.model == order.model, CutRow.request_id == order.request_id)
    row = session.scalars(mine).one_or_none()
    if row is not None and row.fingerprint != order.fingerprint:
        raise RequestIdReused(order.request_id)
    return None if row is None else _cut(row)


def unplaced(session: Session, dataset: str) -> int | None:
    """A cut that was begun on the data set and whose rows aren't appended yet. It must come first: it claimed its votes."""
    return session.scalars(
        sa.select(CutRow.id).where(CutRow.dataset == dataset, CutRow.state == State.PLANNED).order_by(CutRow.id)
    ).first()


def plan(session: Session, order: Order) -> Cut:
    """Claims the votes. Raises `FailedPrecondition`: `NOT_APPLIED_YET`, `NO_FEEDBACK`, `CUT_BEHIND`. Call `hold` first."""
    _check_applied(session, order)
    fresh = session.scalars(
        _feedback(order).where(_below(order.offsets), ~_retracted(), LedgerEntry.position.not_in(sa.select(CutVote.position)))
    ).all()
    counted = sa.select(CutVote.position)
    if not fresh and session.scalars(_feedback(order).where(LedgerEntry.position.in_(counted), ~_retracted())).first() is None:
        raise FailedPrecondition(
            f"There is no feedback about '{order.model}' on '{order.dataset}' before these offsets. Send some, then cut again.",
            reason="NO_FEEDBACK",
        )
    if session.scalars(_feedback(order).where(LedgerEntry.position.in_(counted), ~_below(order.offsets))).first() is not None:
        raise FailedPrecondition(
            "An earlier cut counted feedback beyond these offsets. Cut at the topic's present ends.", reason="CUT_BEHIND"
        )
    row = CutRow(
        model=order.model, request_id=order.request_id, fingerprint=order.fingerprint, base_label_set=order.base_label_set,
        dataset=order.dataset, state=State.PLANNED, created=now(),
    )  # fmt: skip
    session.add(row)
    session.flush()
    for chunk in chunks(fresh):
        session.execute(sa.insert(CutVote), [{"position": position, "cut": row.id} for position in chunk])
    return _cut(row)


def place(database: Database, datasets: Datasets, cut_id: int, *, target_column: str) -> None:
    """Appends the rows of the cut's subjects and places its votes, in one transaction. Does nothing where that is done."""
    with database.reading() as session:
        cut = session.get_one(CutRow, cut_id)
        if cut.state != State.PLANNED:
            return
        dataset, pending = cut.dataset, _pending(session, cut)
    version = datasets.version(dataset)
    rows = fitted_rows([json.loads(subject.features) for subject in pending], version.schema, target=target_column)

    def placing(session: Session, before: Version, after: Version) -> None:
        _place(session, cut_id, [(subject.subject, before.row_count + i) for i, subject in enumerate(pending)], after)

    try:
        if rows:
            datasets.append_rows(dataset, rows, origin=Origin.REGROWTH, also=placing)
        else:
            with database.session() as session:
                _place(session, cut_id, [], version)
    except _PlacedMeanwhile:
        return


def read(session: Session, cut_id: int) -> Cut:
    """A cut that exists."""
    return _cut(session.get_one(CutRow, cut_id))


def finish(session: Session, cut_id: int, label_set: str) -> Cut:
    """Notes the label set that came of the cut."""
    row = session.get_one(CutRow, cut_id)
    row.label_set, row.state = label_set, State.DONE
    session.flush()
    return _cut(row)


class _PlacedMeanwhile(Exception):
    """A twin of this call placed the cut first: the rows of this one must not be added."""


def _place(session: Session, cut_id: int, rows: Sequence[tuple[str, int]], version: Version) -> None:
    hold(session)
    cut = session.get_one(CutRow, cut_id, with_for_update=True)
    if cut.state != State.PLANNED:
        raise _PlacedMeanwhile
    for subject, number in rows:
        session.get_one(SubjectRow, (cut.model, cut.dataset, subject)).row = number
    session.flush()
    _place_votes(session, cut)
    retract(session, cut.dataset, _replaced(session, cut), why="replaced by a later label")
    cut.state, cut.dataset_version, cut.appended_rows = State.PLACED, version.name, len(rows)
    cut.up_to = newest_position(session, cut.dataset)
    standing = _placed(cut).where(~_retracted())
    cut.labelers = json.dumps(sorted(set(session.scalars(standing.with_only_columns(LedgerEntry.labeler)))))
    cut.feedback_votes = session.scalar(standing.with_only_columns(sa.func.count())) or 0
    session.flush()


def _place_votes(session: Session, cut: CutRow) -> None:
    votes = session.execute(
        sa.select(LedgerEntry.position, LedgerEntry.labeler, SubjectRow.row)
        .join(CutVote, CutVote.position == LedgerEntry.position)
        .join(SubjectRow, _subject_of_vote())
        .where(CutVote.cut == cut.id)
        .order_by(LedgerEntry.position)
    ).all()
    time = now()
    insert_entries(
        session,
        (
            {
                "kind": Entry.PLACEMENT,
                "dataset": cut.dataset,
                "labeler": labeler,
                "target": position,
                "row": row,
                "created": time,
            }
            for position, labeler, row in votes
        ),
    )


def _replaced(session: Session, cut: CutRow) -> list[int]:
    """Placed votes that another one of the same source about the same subject replaces: what was observed last stands."""
    votes = session.execute(
        _placed(cut)
        .where(~_retracted())
        .with_only_columns(LedgerEntry.position, LedgerEntry.labeler, LedgerEntry.subject)
        .order_by(None)
        .order_by(*by_observation())
    )
    newest: dict[tuple[str, str | None], int] = {}
    replaced: list[int] = []
    for position, labeler, subject in votes:
        key = (labeler, subject)
        if key in newest:
            replaced.append(newest[key])
        newest[key] = position
    return replaced


def _pending(session: Session, cut: CutRow) -> Sequence[SubjectRow]:
    """The cut's subjects that have no row yet, in the order of their first vote."""
    first = sa.func.min(LedgerEntry.position)
    query = (
        sa.select(SubjectRow)
        .join(LedgerEntry, _subject_of_vote())
        .join(CutVote, CutVote.position == LedgerEntry.position)
        .where(CutVote.cut == cut.id, SubjectRow.row.is_(None))
        .group_by(SubjectRow.model, SubjectRow.dataset, SubjectRow.subject)
        .order_by(first)
    )
    return session.scalars(query).all()


def _check_applied(session: Session, order: Order) -> None:
    behind = _behind(order.offsets, applied(session, order.reached))
    if not behind and session.scalars(_waiting(order)).first() is not None:
        behind = _behind(order.predictions, applied(session, order.reached_predictions, PREDICTIONS))
    if behind:
        raise FailedPrecondition(
            f"{behind} records before these offsets aren't applied yet. Call again in a moment.",
            reason="NOT_APPLIED_YET", records=behind,
        )  # fmt: skip


def _behind(wanted: Offsets, done: Offsets) -> int:
    return sum(max(0, offset - done.get(key, 0)) for key, offset in wanted.items())


def _waiting(order: Order) -> sa.Select[int]:
    """Feedback before the cut whose prediction hasn't been seen, which one that is still on the log may be."""
    return sa.select(UnmatchedRow.sequence).where(
        UnmatchedRow.model == order.model,
        UnmatchedRow.reason == Reason.UNKNOWN_PREDICTION,
        _below(order.offsets, UnmatchedRow),
    )


def _feedback(order: Order) -> sa.Select[int]:
    return (
        sa.select(LedgerEntry.position)
        .where(LedgerEntry.kind == Entry.VOTE, LedgerEntry.model == order.model, LedgerEntry.dataset == order.dataset)
        .order_by(LedgerEntry.position)
    )


def _placed(cut: CutRow) -> sa.Select[int]:
    placement = sa.orm.aliased(LedgerEntry)
    has_row = sa.exists().where(placement.target == LedgerEntry.position, placement.kind == Entry.PLACEMENT)
    return sa.select(LedgerEntry.position).where(
        LedgerEntry.kind == Entry.VOTE, LedgerEntry.model == cut.model, LedgerEntry.dataset == cut.dataset, has_row
    )


def _retracted() -> sa.Exists:
    retraction = sa.orm.aliased(LedgerEntry)
    return sa.exists().where(retraction.target == LedgerEntry.position, retraction.kind == Entry.RETRACTION)


def _below(offsets: Offsets, entry: type[LedgerEntry] | type[UnmatchedRow] = LedgerEntry) -> sa.ColumnElement[bool]:
    """Whether an event lies before the cut; a partition that isn't named counts for nothing."""
    return sa.or_(
        sa.false(),
        *(
            sa.and_(entry.topic == topic, entry.partition == partition, entry.log_offset < offset)
            for (topic, partition), offset in offsets.items()
        ),
    )


def _subject_of_vote() -> sa.ColumnElement[bool]:
    return sa.and_(
        SubjectRow.model == LedgerEntry.model,
        SubjectRow.dataset == LedgerEntry.dataset,
        SubjectRow.subject == LedgerEntry.subject,
    )


def _cut(row: CutRow) -> Cut:
    return Cut(
        id=row.id, model=row.model, fingerprint=row.fingerprint, base_label_set=row.base_label_set, dataset=row.dataset,
        state=State(row.state), dataset_version=row.dataset_version, up_to=row.up_to, labelers=tuple(json.loads(row.labelers)),
        label_set=row.label_set, appended_rows=row.appended_rows, feedback_votes=row.feedback_votes,
    )  # fmt: skip
