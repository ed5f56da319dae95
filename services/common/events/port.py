"""The event log port: topics of records in partitions, read by consumer groups, at least once.

What `append` returned from is committed: it survives a kill of the process. Records of one key keep their order, for they
share a partition. A group's partitions are spread over its live members; a member that stops renewing its lease loses
them. Consumers without a group read every partition and remember nothing. Two adapters exist: SQLite (embedded) and Kafka.
One contract suite (`tests/contract/test_events.py`) holds for both.

Where they differ: an append that raises, or whose process is killed, has committed nothing on SQLite. On Kafka some of its
events may be committed, as partitions commit apart and an acknowledgement can get lost on the way; so who sends again sends
the same events again, and readers know an event that they have met by its CloudEvents source and id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

PREDICTIONS = "regrow.predictions"
FEEDBACK = "regrow.feedback"
FEEDBACK_IN = "regrow.feedback.in"
"""Where third parties write feedback themselves, in JSON; a gateway checks it and carries it over to `FEEDBACK`."""
REGISTRY = "regrow.registry"
AUDIT = "regrow.audit"
DEAD_LETTER = "regrow.dead-letter"

MOST_EVENT_BYTES = 16 << 20
"""The largest event that a log takes (key and value): what one call of the services can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """How a topic is kept. Retention bounds age and size; what a group hasn't read yet is removed all the same."""

    name: str
    partitions: int = 3
    retention: timedelta = timedelta(days=14)
    retention_bytes: int = 2 << 30


TOPICS = (
    Topic(name=PREDICTIONS),
    Topic(name=FEEDBACK, retention=timedelta(days=30)),
    Topic(name=FEEDBACK_IN),
    Topic(name=REGISTRY, partitions=1, retention=timedelta(days=90)),
    Topic(name=AUDIT, partitions=1, retention=timedelta(days=90)),
    Topic(name=DEAD_LETTER, partitions=1, retention=timedelta(days=90)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What is appended. `headers` carries CloudEvents 1.0 attributes in binary mode (`ce_id`, `ce_type`, ...)."""

    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is read. `offset` counts from 0 within (topic, partition) and never repeats."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    time: datetime


Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) -> the offset of the next record to read, or of the end of the log."""


class Consumer(Protocol):
    """Belongs to one thread. `close` gives the partitions back at once."""

    def poll(self, *, timeout: timedelta, max_records: int = 500) -> Sequence[Record]:
        """Waits up to `timeout` for records; an empty answer is normal. Also renews the member's lease.

        No partition starves beside a full one. While a Kafka is away, polls are empty, and `check` and `lag` raise.
        """
        ...

    def commit(self, offsets: Offsets | None = None) -> None:
        """Stores the group's position: `offsets`, else all that was polled. No-op without a group.

        What another member owns by now is left out: that member reads those records again.
        """
        ...

    def seek(self, offsets: Offsets) -> None:
        """Sets where the next poll reads. Raises `InvalidField` for a partition that isn't assigned."""
        ...

    def assignment(self) -> Sequence[tuple[str, int]]:
        """The (topic, partition) pairs that this consumer reads, as of its last poll."""
        ...

    def positions(self) -> Offsets:
        """Where the next poll reads, over the assignment."""
        ...

    def lag(self) -> int:
        """Records between the committed positions and the ends, over the assignment."""
        ...

    def close(self) -> None:
        """Leaves the group without a commit. Idempotent."""
        ...


class EventLog(Protocol):
    """Safe for use from many threads and processes."""

    def ensure_topics(self, topics: Sequence[Topic] = TOPICS) -> None:
        """Makes what is missing and sets the retention of the rest; partitions stay, for keys are spread over their number.

        Raises `EngineUnavailable`, `InvalidField` for a name or number that no log takes.
        """
        ...

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """Commits all of them before it returns; answers each event's (partition, offset).

        Raises `EngineUnavailable` (what is committed then: see above); with nothing committed, `NotFound` for an unknown
        topic, `TooLarge` for an event over `MOST_EVENT_BYTES`, `InvalidField` for text that isn't.
        """
        ...

    def consumer(
        self, topics: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> Consumer:
        """A group resumes where it committed; `start` holds for what was never committed, and always without a group.

        Raises `NotFound` for an unknown topic.
        """
        ...

    def ends(self, topic: str) -> Offsets:
        """The offset after the newest record of each partition."""
        ...

    def committed(self, group: str, topic: str) -> Offsets:
        """0 for a partition that the group never committed."""
        ...

    def apply_retention(self) -> int:
        """Removes what is older or larger than the topics allow; answers how many records went: none where the engine does
        it by itself."""
        ...

    def check(self) -> None:
        """Raises `EngineUnavailable` where the log can't be used now."""
        ...

    def missing_topics(self) -> Sequence[str]:
        """Those of Regrow's topics that aren't there: all of them before the first start. Raises `EngineUnavailable`."""
        ...

    def close(self) -> None:
        """Ends the log's threads and connections; close its consumers first. Idempotent."""
        ...
