"""What became of events, beside the ledger: counts that go on for ever, and a list of what was odd, kept for 90 days.

Both are written in the transaction that applies the event, so they say neither more nor less than what happened. The same
fates are counted for Prometheus, once the transaction is committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from prometheus_client import Counter as Metric
from sqlalchemy.orm import Session

from services.common.database import Database, now
from services.labeling.feedback.rules import FeedbackEvent
from services.labeling.feedback.storage import FateCount, IssueRow
from services.labeling.votes.ledger import classes_text

Fates = Counter[tuple[str, str]]
"""(model, fate or reason) -> how many events met it."""

VOTED = "VOTED"
KEEP_ISSUES = timedelta(days=90)
FORGET_AT_ONCE = 5_000

EVENTS = Metric("regrow_feedback_events", "Feedback that was applied, by what became of it.", ["fate"])


def issue(event: FeedbackEvent, fate: str, *, other_source: str = "", other_classes: Sequence[str] = ()) -> IssueRow:
    """One odd thing about an event, and the label that it stands against."""
    return IssueRow(
        model=event.model, event_id=event.event_id, source=event.source, prediction=event.prediction,
        classes=classes_text(event.classes), fate=fate, other_source=other_source, other_classes=classes_text(other_classes),
        observed=event.observed, accepted=event.accepted,
    )  # fmt: skip


def replace_issue(session: Session, event: FeedbackEvent, fate: str, *rows: IssueRow) -> None:
    """Puts other issues in the place of one that is settled."""
    session.execute(
        sa.delete(IssueRow).where(
            IssueRow.model == event.model,
            IssueRow.source == event.source,
            IssueRow.event_id == event.event_id,
            IssueRow.fate == fate,
        )
    )
    session.add_all(rows)


def count_fates(session: Session, fates: Fates) -> None:
    """Adds to the counts. Call `hold` first."""
    for (model, fate), count in fates.items():
        row = session.get(FateCount, (model, fate))
        if row is None:
            session.add(FateCount(model=model, fate=fate, count=count))
        else:
            row.count += count


def publish(fates: Fates) -> None:
    """Counts committed fates for Prometheus: without the model, which a caller chooses."""
    for (_, fate), count in fates.items():
        EVENTS.labels(fate).inc(count)


def forget_issues(database: Database, *, older_than: timedelta = KEEP_ISSUES) -> int:
    """Removes the oldest issues noted before then, at most 5,000; answers how many."""
    old = sa.select(IssueRow.sequence).where(IssueRow.noted < now() - older_than).order_by(IssueRow.noted).limit(FORGET_AT_ONCE)
    with database.session() as session:
        result = session.execute(sa.delete(IssueRow).where(IssueRow.sequence.in_(old)))
        return int(getattr(result, "rowcount", 0))
