"""What became of feedback: counts, the unmatched, and the ids of all events that were applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.common import names
from services.common.database import Database
from services.common.events.port import PREDICTIONS, EventLog
from services.common.listing import FIRST_PAGE, Asked
from services.labeling.feedback.fates import VOTED
from services.labeling.feedback.lag import lag
from services.labeling.feedback.rules import Fate
from services.labeling.feedback.storage import (
    ISSUES,
    UNMATCHED,
    CutRow,
    CutVote,
    FateCount,
    IssueRow,
    PredictionRow,
    SubjectRow,
    UnmatchedRow,
)
from services.labeling.votes import storage as votes_storage
from services.labeling.votes.ledger import classes_of
from services.labeling.votes.storage import Entry, LedgerEntry

MODEL = "projects/{project}/models/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCount:
    """Votes of one source in the ledger."""

    source: str
    labeler: str
    votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One model's feedback by fate. `used` votes lie on rows that a cut appended. Both lags are of all models together."""

    votes: int
    used: int
    unmatched: int
    repeated: int
    predictions: int
    lag: int
    prediction_lag: int
    sources: tuple[SourceCount, ...]
    fates: Mapping[str, int]
    """How many events ever met each fate or reason; those that are only votes aren't told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Something odd about an event. `other_classes` of `other_source` is what it stands against."""

    sequence: int
    event_id: str
    source: str
    prediction: str
    classes: tuple[str, ...]
    fate: str
    other_source: str
    other_classes: tuple[str, ...]
    observed: datetime
    accepted: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """An event that joined nothing, with the reason."""

    sequence: int
    event_id: str
    prediction: str
    source: str
    classes: tuple[str, ...]
    reason: str
    accepted: datetime


class Feedback:
    """Reads what the consumer wrote."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log

    def stats(self, model: str) -> Stats:
        """Zeros for a model that nothing was heard of. Raises `InvalidField`."""
        names.parse(MODEL, model, "parent")
        with self._database.reading() as session:
            sources, fates = _sources(session, model), _fates(session, model)
            return Stats(
                votes=sum(source.votes for source in sources),
                used=_count(session, _used(model)),
                unmatched=_count(session, sa.select(UnmatchedRow.sequence).where(UnmatchedRow.model == model)),
                repeated=fates.get(Fate.REPEATED, 0) + fates.get(Fate.REUSED_ID, 0),
                predictions=_count(session, sa.select(PredictionRow.prediction).where(PredictionRow.model == model)),
                lag=lag(session, self._log),
                prediction_lag=lag(session, self._log, PREDICTIONS),
                sources=sources,
                fates=fates,
            )

    def issues(self, model: str, ask: Asked = FIRST_PAGE, *, fate: str = "") -> tuple[list[Issue], str]:
        """A page, newest first, and the next page's token."""
        names.parse(MODEL, model, "parent")
        query = sa.select(IssueRow).where(IssueRow.model == model)
        if fate:
            query = query.where(IssueRow.fate == fate)
        with self._database.reading() as session:
            rows, token = ISSUES.page(session, query, ask, scope=f"{model} {fate}")
            return [_issue(row) for row in rows], token

    def unmatched(self, model: str, ask: Asked = FIRST_PAGE) -> tuple[list[Unmatched], str]:
        """A page, newest first, and the next page's token."""
        names.parse(MODEL, model, "parent")
        query = sa.select(UnmatchedRow).where(UnmatchedRow.model == model)
        with self._database.reading() as session:
            rows, token = UNMATCHED.page(session, query, ask, scope=model)
            return [_read(row) for row in rows], token

    def applied_events(self, model: str) -> tuple[list[str], list[str]]:
        """The event ids in the ledger, and those that are unmatched; a source's id is in one of the two, once."""
        names.parse(MODEL, model, "model")
        with self._database.reading() as session:
            ledger = session.scalars(_votes(model).with_only_columns(LedgerEntry.event_id).order_by(LedgerEntry.position)).all()
            unmatched = session.scalars(
                sa.select(UnmatchedRow.event_id).where(UnmatchedRow.model == model).order_by(UnmatchedRow.sequence)
            ).all()
        return [event_id for event_id in ledger if event_id is not None], list(unmatched)


def forget_dataset(session: Session, dataset: str) -> None:
    """Removes what the ledger and feedback hold of a data set that is being deleted."""
    cuts = sa.select(CutRow.id).where(CutRow.dataset == dataset)
    session.execute(sa.delete(CutVote).where(CutVote.cut.in_(cuts)))
    session.execute(sa.delete(CutRow).where(CutRow.dataset == dataset))
    session.execute(sa.delete(SubjectRow).where(SubjectRow.dataset == dataset))
    votes_storage.forget_dataset(session, dataset)


def _votes(model: str) -> sa.Select[int]:
    return sa.select(LedgerEntry.position).where(LedgerEntry.kind == Entry.VOTE, LedgerEntry.model == model)


def _used(model: str) -> sa.Select[int]:
    placement = aliased(LedgerEntry)
    return _votes(model).where(sa.exists().where(placement.target == LedgerEntry.position, placement.kind == Entry.PLACEMENT))


def _sources(session: Session, model: str) -> tuple[SourceCount, ...]:
    count = sa.func.count()
    query = (
        _votes(model)
        .with_only_columns(LedgerEntry.annotator, LedgerEntry.labeler, count)
        .group_by(LedgerEntry.annotator, LedgerEntry.labeler)
        .order_by(count.desc(), LedgerEntry.annotator)
    )
    return tuple(SourceCount(source=source, labeler=labeler, votes=votes) for source, labeler, votes in session.execute(query))


def _fates(session: Session, model: str) -> dict[str, int]:
    query = sa.select(FateCount).where(FateCount.model == model, FateCount.fate != VOTED)
    return {row.fate: row.count for row in session.scalars(query)}


def _count(session: Session, query: sa.Select[int] | sa.Select[str]) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0


def _issue(row: IssueRow) -> Issue:
    return Issue(
        sequence=row.sequence, event_id=row.event_id, source=row.source, prediction=row.prediction,
        classes=classes_of(row.classes), fate=row.fate, other_source=row.other_source,
        other_classes=classes_of(row.other_classes), observed=row.observed, accepted=row.accepted,
    )  # fmt: skip


def _read(row: UnmatchedRow) -> Unmatched:
    return Unmatched(
        sequence=row.sequence, event_id=row.event_id, prediction=row.prediction, source=row.source,
        classes=classes_of(row.classes), reason=row.reason, accepted=row.accepted,
    )  # fmt: skip
