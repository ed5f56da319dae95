"""How old feedback is by the time that it is applied, for Prometheus. What becomes of it is counted in `fates`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import Histogram

from services.labeling.feedback.rules import FeedbackEvent

AGE = Histogram(
    "regrow_feedback_age_seconds",
    "Age of feedback when it was applied: since the label became known, or since the gateway accepted it.",
    ["since"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600, 3600, 86400, 7 * 86400, 30 * 86400),
)


def measure(events: Sequence[FeedbackEvent], applied: datetime) -> None:
    """Of a batch that was applied then. A clock of the sender's that is ahead makes no age negative."""
    for event in events:
        AGE.labels("accept").observe(max(0.0, (applied - event.accepted).total_seconds()))
        AGE.labels("observe").observe(max(0.0, (applied - event.observed).total_seconds()))
