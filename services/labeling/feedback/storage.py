"""Tables of feedback: the join table of predictions, subjects, unmatched events, what is odd, applied offsets, cuts.

An accepted event is in exactly one of two places, by its source and id: in the ledger or in `feedback_unmatched`.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.common.database import now
from services.common.listing import Collection, Sort, choice, entries, text, time
from services.labeling.feedback.rules import Fate
from services.labeling.tables import LabelingTable
from services.labeling.votes.storage import Position


class PredictionRow(LabelingTable):
    """An answered prediction, kept for a bounded time so that feedback about it finds its features."""

    __tablename__ = "feedback_predictions"

    model: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    prediction: Mapped[str] = mapped_column(sa.String(400), primary_key=True)
    version: Mapped[int] = mapped_column(sa.BigInteger)
    problem_spec: Mapped[str] = mapped_column(sa.String(200))
    dataset: Mapped[str] = mapped_column(sa.String(200))
    features: Mapped[str] = mapped_column(sa.Text)
    received: Mapped[datetime] = mapped_column(default=now, index=True)


class SubjectRow(LabelingTable):
    """What feedback is about: a prediction's features, or those that came with the event. `row` once it was appended."""

    __tablename__ = "feedback_subjects"

    model: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    dataset: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(450), primary_key=True)
    features: Mapped[str] = mapped_column(sa.Text)
    row: Mapped[int | None] = mapped_column(sa.BigInteger)


class UnmatchedRow(LabelingTable):
    """An event that joined nothing or meant no class, with all that is needed to try again."""

    __tablename__ = "feedback_unmatched"

    sequence: Mapped[int] = mapped_column(Position, primary_key=True, autoincrement=True)
    model: Mapped[str] = mapped_column(sa.String(200))
    event_id: Mapped[str] = mapped_column(sa.String(400))
    prediction: Mapped[str] = mapped_column(sa.String(400))
    source: Mapped[str] = mapped_column(sa.String(200))
    classes: Mapped[str] = mapped_column(sa.Text)
    features: Mapped[str | None] = mapped_column(sa.Text)
    problem_spec: Mapped[str] = mapped_column(sa.String(200))
    dataset: Mapped[str] = mapped_column(sa.String(200))
    reason: Mapped[str] = mapped_column(sa.String(40))
    accepted: Mapped[datetime]
    topic: Mapped[str] = mapped_column(sa.String(100))
    partition: Mapped[int]
    log_offset: Mapped[int] = mapped_column(sa.BigInteger)
    observed: Mapped[datetime | None]
    fingerprint: Mapped[str | None] = mapped_column(sa.String(32))

    __table_args__ = (
        sa.UniqueConstraint("model", "source", "event_id"),
        sa.Index(None, "model", "prediction"),
        {"sqlite_autoincrement": True},
    )


UNMATCHED = Collection(
    {
        "event_id": text(UnmatchedRow.event_id), "prediction": text(UnmatchedRow.prediction),
        "source": text(UnmatchedRow.source), "class_names": entries(UnmatchedRow.classes),
        "reason": text(UnmatchedRow.reason), "accept_time": time(UnmatchedRow.accepted),
    },
    key=[Sort(name="sequence", column=UnmatchedRow.sequence, descending=True)],
)  # fmt: skip


class AppliedOffset(LabelingTable):
    """How far a partition is applied: `next_offset` is the first record that isn't in this database yet."""

    __tablename__ = "applied_offsets"

    topic: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    next_offset: Mapped[int] = mapped_column(sa.BigInteger)


class IssueRow(LabelingTable):
    """An event with something odd about it, once for each odd thing; kept for a bounded time, while the counts go on."""

    __tablename__ = "feedback_issues"

    sequence: Mapped[int] = mapped_column(Position, primary_key=True, autoincrement=True)
    model: Mapped[str] = mapped_column(sa.String(200))
    event_id: Mapped[str] = mapped_column(sa.String(400))
    source: Mapped[str] = mapped_column(sa.String(200))
    prediction: Mapped[str] = mapped_column(sa.String(400))
    classes: Mapped[str] = mapped_column(sa.Text)
    fate: Mapped[str] = mapped_column(sa.String(40))
    other_source: Mapped[str] = mapped_column(sa.String(200), default="")
    other_classes: Mapped[str] = mapped_column(sa.Text, default="[]")
    observed: Mapped[datetime]
    accepted: Mapped[datetime]
    noted: Mapped[datetime] = mapped_column(default=now, index=True)

    __table_args__ = (
        sa.Index(None, "model", "fate"),
        sa.Index("ix_feedback_issues_event", "model", "source", "event_id"),
        {"sqlite_autoincrement": True},
    )


ISSUES = Collection(
    {
        "event_id": text(IssueRow.event_id), "source": text(IssueRow.source), "prediction": text(IssueRow.prediction),
        "class_names": entries(IssueRow.classes), "fate": choice(IssueRow.fate, {fate.lower(): fate.value for fate in Fate}),
        "other_source": text(IssueRow.other_source), "observe_time": time(IssueRow.observed),
        "accept_time": time(IssueRow.accepted),
    },
    key=[Sort(name="sequence", column=IssueRow.sequence, descending=True)],
)  # fmt: skip


class FateCount(LabelingTable):
    """How many events of a model met a fate, ever."""

    __tablename__ = "feedback_fates"

    model: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    fate: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    count: Mapped[int] = mapped_column(sa.BigInteger)


class CutRow(LabelingTable):
    """One cut of a model's feedback, and how far it is: what is done is never done again."""

    __tablename__ = "feedback_cuts"

    id: Mapped[int] = mapped_column(Position, primary_key=True, autoincrement=True)
    model: Mapped[str] = mapped_column(sa.String(200))
    request_id: Mapped[str] = mapped_column(sa.String(128))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    base_label_set: Mapped[str] = mapped_column(sa.String(300))
    dataset: Mapped[str] = mapped_column(sa.String(200))
    state: Mapped[str] = mapped_column(sa.String(10))
    created: Mapped[datetime] = mapped_column(default=now)
    dataset_version: Mapped[str] = mapped_column(sa.String(300), default="")
    up_to: Mapped[int | None] = mapped_column(sa.BigInteger)
    labelers: Mapped[str] = mapped_column(sa.Text, default="[]")
    label_set: Mapped[str] = mapped_column(sa.String(300), default="")
    appended_rows: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    feedback_votes: Mapped[int] = mapped_column(sa.BigInteger, default=0)

    __table_args__ = (sa.UniqueConstraint("model", "request_id"), {"sqlite_autoincrement": True})


class CutVote(LabelingTable):
    """A vote that a cut counts for the first time. A vote belongs to one cut at most."""

    __tablename__ = "feedback_cut_votes"

    position: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    cut: Mapped[int] = mapped_column(sa.BigInteger, index=True)
