"""How far the readers of the event log are."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.events.port import FEEDBACK, FEEDBACK_IN, PREDICTIONS, EventLog

FEEDBACK_DOOR = "gateway.feedback-in"
"""The group in which the gateways carry over what third parties write to `FEEDBACK_IN`."""

READERS: Sequence[tuple[str, str]] = (
    ("labeling", PREDICTIONS),
    ("labeling", FEEDBACK),
    ("training", FEEDBACK),
    (FEEDBACK_DOOR, FEEDBACK_IN),
)
"""The consumer groups, each with a topic that it reads."""


def lag_of(log: EventLog, group: str, topic: str) -> int:
    """Events of a topic that a group hasn't committed. Raises `EngineUnavailable`, `NotFound`."""
    done = log.committed(group, topic)
    return sum(max(0, end - done.get(partition, 0)) for partition, end in log.ends(topic).items())
