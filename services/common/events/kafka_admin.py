"""The questions about a cluster: which topics there are, how far they reach, where groups stand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from kafka import IsolationLevel, KafkaAdminClient, OffsetAndMetadata, OffsetSpec, TopicPartition, errors

from services.common.errors import NotFound
from services.common.events.kafka_access import FAILURES, KafkaAccess
from services.common.events.kafka_network import opened
from services.common.events.port import Offsets

Answer = TypeVar("Answer")

_PAUSE_SECONDS = 0.1


class KafkaAdmin:
    """One admin client of a process, made when it is needed and anew after a failure. For any number of threads.

    Names of topics and groups are Regrow's, without the prefix. Raises `EngineUnavailable` after `wait`.
    """

    def __init__(self, access: KafkaAccess, *, wait: timedelta) -> None:
        self._access = access
        self._wait = wait.total_seconds()
        self._options = access.options(wait)
        self._turn = threading.Lock()
        self._client: KafkaAdminClient | None = None
        self._known: dict[str, int] = {}

    def partitions(self, topic: str) -> int:
        """How many a topic has; asked once, as their number stays. Raises `NotFound`."""
        if topic not in self._known:
            described = self.describe([topic])
            if topic not in described:
                raise _unknown(topic)
            self._known[topic] = len(described[topic])
        return self._known[topic]

    def forget(self, topic: str) -> None:
        """The topic seems to be gone: ask about it again."""
        self._known.pop(topic, None)

    def describe(self, topics: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Topic -> what Kafka says of its partitions, without the topics that don't exist."""
        names = {self._access.topic(topic): topic for topic in topics}
        answers = self.ask(lambda client: client.describe_topics(list(names)))
        return {names[one["name"]]: one["partitions"] for one in answers if one["partitions"]}

    def ends(self, topic: str) -> Offsets:
        """The offset after the newest record of each partition that is there to read. Raises `NotFound`."""
        return self._offsets(topic, OffsetSpec.LATEST)

    def starts(self, topic: str) -> Offsets:
        """The offset of the oldest record that retention left. Raises `NotFound`."""
        return self._offsets(topic, OffsetSpec.EARLIEST)

    def committed(self, group: str, topics: Iterable[str]) -> Offsets:
        """Where a group stands, without the partitions that it never committed. Raises `NotFound`."""
        names = {self._partition(topic, n): (topic, n) for topic in topics for n in range(self.partitions(topic))}
        name = self._access.group(group)
        try:
            found = self.ask(lambda client: client.list_group_offsets({name: list(names)}))[name]
        except errors.UnknownTopicOrPartitionError:
            raise self._gone(sorted({topic for topic, _ in names.values()})) from None
        return {names[partition]: stored.offset for partition, stored in found.items() if stored.offset >= 0}

    def place(self, group: str, offsets: Offsets) -> None:
        """Sets where a group starts; a group that has members by now keeps its place."""
        wanted = {self._partition(*name): OffsetAndMetadata(offset, "", -1) for name, offset in offsets.items()}
        self.ask(lambda client: client.alter_group_offsets(self._access.group(group), wanted))

    def ask(self, question: Callable[[KafkaAdminClient], Answer]) -> Answer:
        """Asks again what failed for a passing reason, with a fresh client, for as long as the wait allows."""
        deadline = time.monotonic() + self._wait
        with self._my_turn():
            while True:
                try:
                    if self._client is None:
                        self._client = opened(KafkaAdminClient, self._options)
                    return question(self._client)
                except errors.UnknownTopicOrPartitionError:
                    raise
                except FAILURES as error:
                    opening = self._client is None
                    self._drop()
                    if not getattr(error, "retriable", False) or time.monotonic() > deadline - _PAUSE_SECONDS:
                        raise self._access.told(error, opening=opening) from None
                    time.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """Ends the client's thread and connections."""
        with self._my_turn():
            self._drop()

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=2 * self._wait):
            raise self._access.told(errors.KafkaTimeoutError())
        try:
            yield
        finally:
            self._turn.release()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def _offsets(self, topic: str, spec: OffsetSpec) -> Offsets:
        wanted: Mapping[TopicPartition, OffsetSpec] = {
            self._partition(topic, number): spec for number in range(self.partitions(topic))
        }
        try:
            found = self.ask(lambda client: client.list_partition_offsets(wanted, IsolationLevel.READ_COMMITTED))
        except errors.UnknownTopicOrPartitionError:
            raise self._gone([topic]) from None
        return {(topic, partition.partition): answer.offset for partition, answer in found.items()}

    def _gone(self, topics: Sequence[str]) -> NotFound:
        for topic in topics:
            self.forget(topic)
        return _unknown(", ".join(topics))

    def _partition(self, topic: str, number: int) -> TopicPartition:
        return TopicPartition(self._access.topic(topic), number)


def _unknown(topic: str) -> NotFound:
    return NotFound("topic", topic, "Make it with ensure_topics.")
