"""Any event log, with how long its appends take and how many fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from services.common.events.port import TOPICS, Consumer, Event, EventLog, Offsets, Topic
from services.common.metering import Meter

APPENDS = Meter("event_append", "appends to the event log", "topic")


class MeasuredLog:
    """See `EventLog`; only `append` is measured, for polls wait on purpose."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def ensure_topics(self, topics: Sequence[Topic] = TOPICS) -> None:
        """See `EventLog.ensure_topics`."""
        self._log.ensure_topics(topics)

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """See `EventLog.append`."""
        with APPENDS.around(topic):
            return self._log.append(topic, events)

    def consumer(
        self, topics: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> Consumer:
        """See `EventLog.consumer`."""
        return self._log.consumer(topics, group=group, start=start)

    def ends(self, topic: str) -> Offsets:
        """See `EventLog.ends`."""
        return self._log.ends(topic)

    def committed(self, group: str, topic: str) -> Offsets:
        """See `EventLog.committed`."""
        return self._log.committed(group, topic)

    def apply_retention(self) -> int:
        """See `EventLog.apply_retention`."""
        return self._log.apply_retention()

    def check(self) -> None:
        """See `EventLog.check`."""
        self._log.check()

    def missing_topics(self) -> Sequence[str]:
        """See `EventLog.missing_topics`."""
        return self._log.missing_topics()

    def close(self) -> None:
        """See `EventLog.close`."""
        self._log.close()
