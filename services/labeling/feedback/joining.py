"""Events become votes: predictions are kept for the join, feedback joins them or waits in the unmatched table.

Both functions run inside one transaction that also stores how far the log is applied, so a crash between the two can't be.
Being given the same event again changes nothing. Whichever of a prediction and its feedback comes second does the join.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.common.database import now
from services.common.errors import InvalidInput, NotFound
from services.labeling.feedback.fates import VOTED, Fates, count_fates, issue, replace_issue
from services.labeling.feedback.lag import stored_offsets
from services.labeling.feedback.rules import (
    WAITING,
    EventKey,
    Fate,
    FeedbackEvent,
    Origin,
    PredictionEvent,
    Reason,
    Vocabulary,
    lies_before,
    predicted_at,
)  # fmt: skip
from services.labeling.feedback.storage import IssueRow, PredictionRow, SubjectRow, UnmatchedRow
from services.labeling.labelers.handlers import ensure_feedback_labeler
from services.labeling.specs.handlers import get_spec
from services.labeling.votes.ledger import by_observation, classes_of, classes_text
from services.labeling.votes.rules import Drawn
from services.labeling.votes.storage import Entry, LedgerEntry, chunks, hold, insert_entry


def apply_predictions(session: Session, events: Sequence[PredictionEvent], *, keep: timedelta) -> Fates:
    """Keeps the predictions, and joins the feedback that was waiting for them. `keep` is how long they are kept."""
    hold(session)
    by_key = {(event.model, event.prediction): event for event in events}
    known = {tuple(key) for key in _found(session, (PredictionRow.model, PredictionRow.prediction), by_key)}
    fresh = [event for key, event in by_key.items() if key not in known]
    time = now()
    session.add_all(
        PredictionRow(
            model=e.model, prediction=e.prediction, version=e.version, problem_spec=e.problem_spec, dataset=e.dataset,
            features=e.features, received=time,
        )
        for e in fresh
    )  # fmt: skip
    session.flush()
    return _match_waiting(session, {(e.model, e.prediction) for e in fresh}, keep)


def apply_feedback(session: Session, events: Sequence[FeedbackEvent], *, keep: timedelta) -> Fates:
    """Each new event becomes a vote or an unmatched entry; one whose source and id are known changes nothing.

    Answers the fates that were met; they are counted and what is odd is noted in the same transaction.
    """
    hold(session)
    keys = {event.key for event in events}
    known = _known_events(session, keys)
    applied = {topic: stored_offsets(session, topic) for topic in {event.origin.topic for event in events}}
    fates: Fates = Counter()
    joiner = Joiner(session, keep, {(event.model, event.subject) for event in events})
    for event in events:
        before = known.get(event.key)
        if before is None:
            known[event.key] = _Known(event.fingerprint, event.classes)
            _apply(session, joiner, event, fates)
        elif not lies_before(applied[event.origin.topic], event.origin):
            # A record that the log delivers again is no repetition of the sender's.
            fate = Fate.REPEATED if before.fingerprint in (None, event.fingerprint) else Fate.REUSED_ID
            fates[event.model, fate] += 1
            if fate is Fate.REUSED_ID:
                session.add(issue(event, fate, other_source=event.source, other_classes=before.classes))
    session.flush()
    count_fates(session, fates)
    return fates


def _apply(session: Session, joiner: Joiner, event: FeedbackEvent, fates: Fates) -> None:
    outcome = joiner.join(event)
    if isinstance(outcome, Reason):
        session.add(_unmatched(event, outcome))
        session.add(issue(event, outcome))
        fates[event.model, outcome] += 1
    else:
        session.add_all(outcome)
        fates.update((event.model, row.fate) for row in outcome)
        fates[event.model, VOTED] += 1


@dataclass(frozen=True, slots=True)
class _Known:
    """What an event said that came before under the same source and id; no fingerprint where nobody kept it."""

    fingerprint: str | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a source said last about something."""

    observed: datetime
    classes: tuple[str, ...]


class Joiner:
    """Joins events one by one; specs, labelers and what was said before about `subjects` are looked up once each."""

    def __init__(self, session: Session, keep: timedelta, subjects: Iterable[tuple[str, str]]) -> None:
        self._session = session
        self._oldest = now() - keep
        self._vocabularies: dict[str, Vocabulary | None] = {}
        self._labelers: dict[tuple[str, str], str] = {}
        self._said = _said_before(session, subjects)

    def join(self, event: FeedbackEvent) -> Reason | list[IssueRow]:
        """Writes the event's vote and answers what is odd about it; or answers why it can't be one."""
        prediction = self._session.get(PredictionRow, (event.model, event.prediction)) if event.prediction else None
        dataset = event.dataset or (prediction.dataset if prediction else "")
        spec = event.problem_spec or (prediction.problem_spec if prediction else "")
        subject = self._session.get(SubjectRow, (event.model, dataset, event.subject))
        if event.prediction and prediction is None and subject is None:
            return self._unknown(event.prediction)
        project = _project(event.model)
        vocabulary = self._vocabulary(spec) if _project(spec) == _project(dataset) == project else None
        if vocabulary is None:
            return Reason.UNKNOWN_SPEC
        if (classes := vocabulary.classes(event.classes)) is None:
            return Reason.UNKNOWN_CLASS
        if subject is None:
            features = prediction.features if prediction else event.features
            if features is None or (prediction is None and not vocabulary.reads(json.loads(features))):
                return Reason.UNREADABLE_FEATURES
            subject = SubjectRow(model=event.model, dataset=dataset, subject=event.subject, features=features)
            self._session.add(subject)
            self._session.flush()
        self._vote(event, dataset, self._labeler(event, spec), classes)
        return self._odd(event, classes, subject)

    def _odd(self, event: FeedbackEvent, classes: tuple[str, ...], subject: SubjectRow) -> list[IssueRow]:
        said = self._said.setdefault((event.model, event.subject), {})
        odd: list[IssueRow] = []
        own = said.get(event.source)
        if own is not None and own.classes != classes:
            odd.append(issue(event, Fate.AMENDED, other_source=event.source, other_classes=own.classes))
        other = next((source for source, one in said.items() if source != event.source and one.classes != classes), None)
        if other is not None:
            odd.append(issue(event, Fate.DISAGREED, other_source=other, other_classes=said[other].classes))
        if subject.row is not None:
            odd.append(issue(event, Fate.LATE))
        if own is None or event.observed >= own.observed:
            said[event.source] = _Said(event.observed, classes)
        return odd

    def _unknown(self, prediction: str) -> Reason:
        time = predicted_at(prediction)
        return Reason.EXPIRED_PREDICTION if time is not None and time < self._oldest else Reason.UNKNOWN_PREDICTION

    def _vote(self, event: FeedbackEvent, dataset: str, labeler: str, classes: tuple[str, ...]) -> None:
        insert_entry(
            self._session,
            kind=Entry.VOTE, dataset=dataset, labeler=labeler, classes=classes_text(classes), drawn=Drawn.FOUND,
            annotator=event.source, vote_id=f"feedback/{event.model}/{event.source}/{event.event_id}", model=event.model,
            event_id=event.event_id, subject=event.subject, topic=event.origin.topic, partition=event.origin.partition,
            log_offset=event.origin.offset, observed=event.observed, fingerprint=event.fingerprint,
        )  # fmt: skip

    def _vocabulary(self, spec: str) -> Vocabulary | None:
        if spec not in self._vocabularies:
            try:
                self._vocabularies[spec] = Vocabulary(get_spec(self._session, spec))
            except (NotFound, InvalidInput):
                self._vocabularies[spec] = None
        return self._vocabularies[spec]

    def _labeler(self, event: FeedbackEvent, spec: str) -> str:
        key = (spec, event.source)
        if key not in self._labelers:
            self._labelers[key] = ensure_feedback_labeler(self._session, _project(event.model), spec, event.source).name
        return self._labelers[key]


def _project(name: str) -> str:
    return "/".join(name.split("/")[:2])


def _match_waiting(session: Session, predictions: Iterable[tuple[str, str]], keep: timedelta) -> Fates:
    """Moves what these predictions were missing for to the ledger, in the order of the log."""
    waiting: list[UnmatchedRow] = []
    for chunk in chunks(predictions, 500):
        query = sa.select(UnmatchedRow).where(
            sa.tuple_(UnmatchedRow.model, UnmatchedRow.prediction).in_(chunk), UnmatchedRow.reason.in_(WAITING)
        )
        waiting.extend(session.scalars(query))
    fates: Fates = Counter()
    joiner = Joiner(session, keep, {(row.model, row.prediction) for row in waiting})
    for row in sorted(waiting, key=lambda row: (row.topic, row.partition, row.log_offset)):
        event, before = _event(row), row.reason
        outcome = joiner.join(event)
        if isinstance(outcome, Reason):
            row.reason = outcome
            replace_issue(session, event, before, issue(event, outcome))
            fates[row.model, outcome] += 1
        else:
            session.delete(row)
            replace_issue(session, event, before, *outcome)
            fates.update((row.model, one.fate) for one in outcome)
            fates.update([(row.model, Fate.JOINED_LATER), (row.model, VOTED)])
    session.flush()
    count_fates(session, fates)
    return fates


def _known_events(session: Session, keys: Collection[EventKey]) -> dict[EventKey, _Known]:
    """What is known of these events, in the ledger or unmatched."""
    found: dict[EventKey, _Known] = {}
    ledger = (LedgerEntry.model, LedgerEntry.annotator, LedgerEntry.event_id)
    unmatched = (UnmatchedRow.model, UnmatchedRow.source, UnmatchedRow.event_id)
    for columns, table in ((ledger, LedgerEntry), (unmatched, UnmatchedRow)):
        for row in _found(session, columns, keys, table.fingerprint, table.classes):
            found[row[0], row[1], row[2]] = _Known(row[3], classes_of(row[4]))
    return found


def _said_before(session: Session, subjects: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, _Said]]:
    """(model, subject) -> what each source said about it: of several votes, the one that was observed last."""
    said: dict[tuple[str, str], dict[str, _Said]] = {}
    observed, position = by_observation()
    for chunk in chunks(subjects, 500):
        query = (
            sa.select(LedgerEntry.model, LedgerEntry.subject, LedgerEntry.annotator, LedgerEntry.classes, observed)
            .where(sa.tuple_(LedgerEntry.model, LedgerEntry.subject).in_(chunk), LedgerEntry.kind == Entry.VOTE)
            .order_by(observed, position)
        )
        for model, subject, source, classes, time in session.execute(query):
            said.setdefault((model or "", subject or ""), {})[source] = _Said(time, classes_of(classes))
    return said


def _found(
    session: Session,
    columns: Sequence[InstrumentedAttribute[Any]],
    keys: Iterable[tuple[str, ...]],
    *also: InstrumentedAttribute[Any],
) -> Iterator[Any]:
    """The rows whose `columns` are among the keys: these columns, and others."""
    for chunk in chunks(keys, 500):
        yield from session.execute(sa.select(*columns, *also).where(sa.tuple_(*columns).in_(chunk)))


def _unmatched(event: FeedbackEvent, reason: Reason) -> UnmatchedRow:
    return UnmatchedRow(
        model=event.model, event_id=event.event_id, prediction=event.prediction, source=event.source,
        classes=classes_text(event.classes), features=event.features, problem_spec=event.problem_spec, dataset=event.dataset,
        reason=reason, accepted=event.accepted, topic=event.origin.topic, partition=event.origin.partition,
        log_offset=event.origin.offset, observed=event.observed, fingerprint=event.fingerprint,
    )  # fmt: skip


def _event(row: UnmatchedRow) -> FeedbackEvent:
    return FeedbackEvent(
        model=row.model, event_id=row.event_id, prediction=row.prediction, features=row.features,
        classes=classes_of(row.classes), source=row.source, problem_spec=row.problem_spec, dataset=row.dataset,
        accepted=row.accepted,
        observed=row.observed or row.accepted, origin=Origin(topic=row.topic, partition=row.partition, offset=row.log_offset),
    )  # fmt: skip
