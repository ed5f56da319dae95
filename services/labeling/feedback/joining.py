"""Events become votes: predictions are kept for the join, feedback joins them or waits in the unmatched table.

Both functions run inside one transaction that also stores how far the log is applied, so a crash between the two can't be.
Being given the same event again changes nothing. Whichever of a prediction and its feedback comes second does the join.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.common.database import now
from services.common.errors import InvalidInput, NotFound
from services.labeling.feedback.lag import stored_offsets
from services.labeling.feedback.rules import FeedbackEvent, Origin, PredictionEvent, Reason, Vocabulary, lies_before
from services.labeling.feedback.storage import PredictionRow, RepeatedCount, SubjectRow, UnmatchedRow
from services.labeling.labelers.handlers import ensure_feedback_labeler
from services.labeling.specs.handlers import get_spec
from services.labeling.votes.ledger import classes_of, classes_text
from services.labeling.votes.rules import Drawn
from services.labeling.votes.storage import Entry, LedgerEntry, chunks, hold, insert_entry


def apply_predictions(session: Session, events: Sequence[PredictionEvent]) -> None:
    """Keeps the predictions, and joins the feedback that was waiting for them."""
    hold(session)
    by_key = {(event.model, event.prediction): event for event in events}
    known = _found(session, PredictionRow.model, PredictionRow.prediction, by_key)
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
    _match_waiting(session, {(e.model, e.prediction) for e in fresh})


def apply_feedback(session: Session, events: Sequence[FeedbackEvent]) -> None:
    """Each new event becomes a vote or an unmatched entry; one whose id is known is counted as repeated."""
    hold(session)
    keys = {(event.model, event.event_id) for event in events}
    known = _found(session, LedgerEntry.model, LedgerEntry.event_id, keys)
    known |= _found(session, UnmatchedRow.model, UnmatchedRow.event_id, keys)
    applied = {topic: stored_offsets(session, topic) for topic in {event.origin.topic for event in events}}
    repeated: Counter[str] = Counter()
    joiner = Joiner(session)
    for event in events:
        if (event.model, event.event_id) in known:
            # A record that the log delivers again is no repetition of the sender's.
            repeated[event.model] += not lies_before(applied[event.origin.topic], event.origin)
            continue
        known.add((event.model, event.event_id))
        if (reason := joiner.join(event)) is not None:
            session.add(_unmatched(event, reason))
    session.flush()
    _count_repeated(session, repeated)


class Joiner:
    """Joins events one by one; specs and labelers are looked up once each."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._vocabularies: dict[str, Vocabulary | None] = {}
        self._labelers: dict[tuple[str, str], str] = {}

    def join(self, event: FeedbackEvent) -> Reason | None:
        """Writes the event's vote; or answers why it can't be one."""
        prediction = self._session.get(PredictionRow, (event.model, event.prediction)) if event.prediction else None
        dataset = event.dataset or (prediction.dataset if prediction else "")
        spec = event.problem_spec or (prediction.problem_spec if prediction else "")
        subject = self._session.get(SubjectRow, (event.model, dataset, event.subject))
        if event.prediction and prediction is None and subject is None:
            return Reason.UNKNOWN_PREDICTION
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
            self._session.add(SubjectRow(model=event.model, dataset=dataset, subject=event.subject, features=features))
            self._session.flush()
        self._vote(event, dataset, self._labeler(event, spec), classes)
        return None

    def _vote(self, event: FeedbackEvent, dataset: str, labeler: str, classes: tuple[str, ...]) -> None:
        insert_entry(
            self._session,
            kind=Entry.VOTE, dataset=dataset, labeler=labeler, classes=classes_text(classes), drawn=Drawn.FOUND,
            annotator=event.source, vote_id=f"feedback/{event.model}/{event.event_id}", model=event.model,
            event_id=event.event_id, subject=event.subject, topic=event.origin.topic, partition=event.origin.partition,
            log_offset=event.origin.offset,
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


def _match_waiting(session: Session, predictions: Iterable[tuple[str, str]]) -> None:
    """Moves what these predictions were missing for to the ledger, in the order of the log."""
    waiting: list[UnmatchedRow] = []
    for chunk in chunks(predictions, 500):
        query = sa.select(UnmatchedRow).where(
            sa.tuple_(UnmatchedRow.model, UnmatchedRow.prediction).in_(chunk),
            UnmatchedRow.reason == Reason.UNKNOWN_PREDICTION,
        )
        waiting.extend(session.scalars(query))
    joiner = Joiner(session)
    for row in sorted(waiting, key=lambda row: (row.topic, row.partition, row.log_offset)):
        reason = joiner.join(_event(row))
        if reason is None:
            session.delete(row)
        else:
            row.reason = reason
    session.flush()


def _found(
    session: Session, first: InstrumentedAttribute[Any], second: InstrumentedAttribute[Any], keys: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for chunk in chunks(keys, 500):
        found.update((a, b) for a, b in session.execute(sa.select(first, second).where(sa.tuple_(first, second).in_(chunk))))
    return found


def _count_repeated(session: Session, repeated: Counter[str]) -> None:
    for model, count in repeated.items():
        if not count:
            continue
        row = session.get(RepeatedCount, model)
        if row is None:
            session.add(RepeatedCount(model=model, count=count))
        else:
            row.count += count


def _unmatched(event: FeedbackEvent, reason: Reason) -> UnmatchedRow:
    return UnmatchedRow(
        model=event.model, event_id=event.event_id, prediction=event.prediction, source=event.source,
        classes=classes_text(event.classes), features=event.features, problem_spec=event.problem_spec, dataset=event.dataset,
        reason=reason, accepted=event.accepted, topic=event.origin.topic, partition=event.origin.partition,
        log_offset=event.origin.offset,
    )  # fmt: skip


def _event(row: UnmatchedRow) -> FeedbackEvent:
    return FeedbackEvent(
        model=row.model, event_id=row.event_id, prediction=row.prediction, features=row.features,
        classes=classes_of(row.classes), source=row.source, problem_spec=row.problem_spec, dataset=row.dataset,
        accepted=row.accepted, origin=Origin(topic=row.topic, partition=row.partition, offset=row.log_offset),
    )  # fmt: skip
