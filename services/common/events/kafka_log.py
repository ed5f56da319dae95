"""The event log on Apache Kafka, or what speaks its protocol (2.5 and newer), through kafka-python.

`kafka_access` holds how the cluster is reached, `kafka_topics` the topics, `kafka_append` the writing half, `kafka_consumer`
the reading half, `kafka_admin` the questions about offsets.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from services.common.events import kafka_topics
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_admin import KafkaAdmin
from services.common.events.kafka_append import KafkaAppender
from services.common.events.kafka_consumer import KafkaReader, Membership
from services.common.events.port import TOPICS, Consumer, Event, Offsets, Topic

LEASE = timedelta(seconds=10)
"""How long a dead member keeps its partitions. Brokers take no less than 6 s, unless they are set so."""

WAIT = timedelta(seconds=5)
"""How long a call waits for Kafka before it says that the log can't be reached."""

MOST_SILENCE = timedelta(minutes=5)
"""How long a living member may work on one batch, without a poll or a commit, before its partitions go to others."""

CHECK_WAIT = timedelta(seconds=1.5)
"""How long a check waits at most: whoever asks whether a service is ready has little patience."""

SEAT_PATIENCE = timedelta(seconds=3)
"""How long opening a member waits for its partitions."""


class KafkaLog:
    """An `EventLog` on a Kafka cluster. For any number of threads; not to be used across a fork."""

    def __init__(
        self,
        access: KafkaAccess,
        *,
        lease: timedelta = LEASE,
        wait: timedelta = WAIT,
        most_silence: timedelta = MOST_SILENCE,
        seat_patience: timedelta = SEAT_PATIENCE,
    ) -> None:
        """Connects at the first call."""
        self._access = access
        self._lease, self._wait, self._most_silence, self._seat_patience = lease, wait, most_silence, seat_patience
        self._admin = KafkaAdmin(access, wait=wait)
        self._checker = KafkaAdmin(access, wait=min(wait, CHECK_WAIT))
        self._appender = KafkaAppender(access, self._admin, wait=wait)
        self._consumers: weakref.WeakSet[KafkaReader] = weakref.WeakSet()

    def ensure_topics(self, topics: Sequence[Topic] = TOPICS) -> None:
        """See `EventLog.ensure_topics`. Raises `FailedPrecondition` where the cluster refuses a topic."""
        kafka_topics.ensure(self._admin, self._access, topics)

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """See `EventLog.append`."""
        return self._appender.append(topic, events) if events else []

    def consumer(
        self, topics: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> Consumer:
        """See `EventLog.consumer`."""
        membership = None if group is None else self._membership(group)
        reader = KafkaReader(
            self._access, self._admin, topics, latest=start == "latest", membership=membership, wait=self._wait
        )
        self._consumers.add(reader)
        return reader

    def ends(self, topic: str) -> Offsets:
        """See `EventLog.ends`."""
        return self._admin.ends(topic)

    def committed(self, group: str, topic: str) -> Offsets:
        """See `EventLog.committed`."""
        stored = self._admin.committed(group, [topic])
        return {(topic, number): stored.get((topic, number), 0) for number in range(self._admin.partitions(topic))}

    def apply_retention(self) -> int:
        """See `EventLog.apply_retention`: the brokers do it."""
        return 0

    def check(self) -> None:
        """See `EventLog.check`: the cluster answers, and every partition of Regrow's topics has a leader."""
        kafka_topics.check(self._checker, self._access, TOPICS)

    def missing_topics(self) -> Sequence[str]:
        """See `EventLog.missing_topics`."""
        there = self._checker.describe([topic.name for topic in TOPICS])
        return [topic.name for topic in TOPICS if topic.name not in there]

    def close(self) -> None:
        """See `EventLog.close`."""
        for consumer in list(self._consumers):
            consumer.close()
        self._appender.close()
        self._checker.close()
        self._admin.close()

    def _membership(self, group: str) -> Membership:
        return Membership(group=group, lease=self._lease, most_silence=self._most_silence, patience=self._seat_patience)
