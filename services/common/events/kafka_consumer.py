"""Reading Kafka: a consumer with or without a group.

A member leaves its partitions to others only inside `poll`, so what it polled before is committed by its old right. A
rebalance moves only what must move (cooperative-sticky), and its round trips are made by kafka-python's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition, errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from services.common.errors import FailedPrecondition, InvalidField
from services.common.events.kafka_access import FAILURES, KafkaAccess
from services.common.events.kafka_admin import KafkaAdmin
from services.common.events.kafka_network import opened
from services.common.events.port import Offsets, Record

MOST_POLL_BYTES = 32 << 20
"""Bounds what a consumer holds of one broker; the first record batch always fits."""

_LEFT_OUT = (errors.CommitFailedError, errors.IllegalGenerationError, errors.UnknownMemberIdError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How a member behaves: `lease` is how long a dead one keeps its partitions, `most_silence` a living one that hangs.

    `patience` is how long opening it waits for its seat; where others must give partitions up first, it comes with a poll.
    """

    group: str
    lease: timedelta
    most_silence: timedelta
    patience: timedelta


class KafkaReader:
    """A `Consumer` of Kafka. Belongs to one thread."""

    def __init__(
        self,
        access: KafkaAccess,
        admin: KafkaAdmin,
        topics: Sequence[str],
        *,
        latest: bool,
        membership: Membership | None,
        wait: timedelta,
    ) -> None:
        """Raises `NotFound` for an unknown topic, `EngineUnavailable`."""
        self._access = access
        self._admin = admin
        self._membership = membership
        self._wait_ms = int(wait.total_seconds() * 1000)
        self._closed = False
        self._committed: dict[TopicPartition, int] = {}
        self._names = {access.topic(topic): topic for topic in topics}
        self._partitions = {TopicPartition(access.topic(t), n) for t in topics for n in range(admin.partitions(t))}
        places = self._places(topics, latest)
        options = access.options(wait) | {
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_bytes": MOST_POLL_BYTES,
            "isolation_level": "read_committed",
            "allow_auto_create_topics": False,
        }
        assignor = CooperativeStickyAssignor()
        try:
            self._consumer = opened(KafkaConsumer, options | _member_options(access, membership, assignor))
        except FAILURES as error:
            raise access.told(error, opening=True) from None
        try:
            if membership is None:
                self._start_at(places)
            else:
                self._take_seat(membership.patience, assignor)
        except FAILURES as error:
            self.close()
            raise access.told(error) from None

    def poll(self, *, timeout: timedelta, max_records: int = 500) -> Sequence[Record]:
        """See `Consumer.poll`. A partition waits for its turn at most while one fetch of each other one is read."""
        if self._closed:
            raise FailedPrecondition("This consumer was closed; open another one.")
        try:
            found = self._consumer.poll(timeout_ms=int(timeout.total_seconds() * 1000), max_records=max_records)
        except FAILURES as error:
            raise self._access.told(error) from None
        return [_record(self._names[partition.topic], one) for partition, records in found.items() for one in records]

    def commit(self, offsets: Offsets | None = None) -> None:
        """See `Consumer.commit`. Writes only what changed."""
        wanted = self._polled() if offsets is None else self._checked(offsets)
        mine = self._consumer.assignment()
        changed = {one: offset for one, offset in wanted.items() if one in mine and self._committed.get(one) != offset}
        if self._membership is None:
            return
        if lost := wanted.keys() - mine:
            self._say_left_out(lost)
        if not changed:
            return
        stored = {one: OffsetAndMetadata(offset, "", -1) for one, offset in changed.items()}
        try:
            self._commit(stored)
        except _LEFT_OUT:
            self._say_left_out(changed.keys())
        except FAILURES as error:
            raise self._access.told(error) from None
        else:
            self._committed.update(changed)

    def seek(self, offsets: Offsets) -> None:
        """See `Consumer.seek`."""
        wanted = {self._partition(name): offset for name, offset in offsets.items()}
        mine = self._consumer.assignment()
        for one, offset in wanted.items():
            if one not in mine or offset < 0:
                raise InvalidField("offsets", f"{self._name(one)} at {offset} isn't a place that this consumer reads.")
        for one, offset in wanted.items():
            self._consumer.seek(one, offset)

    def assignment(self) -> Sequence[tuple[str, int]]:
        """See `Consumer.assignment`."""
        return sorted(self._name(one) for one in self._consumer.assignment())

    def positions(self) -> Offsets:
        """See `Consumer.positions`."""
        try:
            found = {one: self._consumer.position(one, timeout_ms=self._wait_ms) for one in self._consumer.assignment()}
        except FAILURES as error:
            raise self._access.told(error) from None
        return {self._name(one): offset for one, offset in found.items() if offset is not None}

    def lag(self) -> int:
        """See `Consumer.lag`. What retention removed isn't counted; without a group the positions count as committed."""
        mine = self.assignment()
        topics = sorted({topic for topic, _ in mine})
        group = self._membership.group if self._membership else None
        done = self.positions() if group is None else self._admin.committed(group, topics)
        ends = _merged(self._admin.ends(topic) for topic in topics)
        starts = _merged(self._admin.starts(topic) for topic in topics)
        return sum(max(0, ends[name] - max(starts[name], done.get(name, 0))) for name in mine)

    def close(self) -> None:
        """See `Consumer.close`. Where Kafka can't be reached, the lease's end does the same."""
        if self._closed:
            return
        self._closed = True
        try:
            self._consumer.close(autocommit=False, timeout_ms=self._wait_ms)
        except FAILURES as error:
            _log.warning("left_without_goodbye", topics=sorted(self._names.values()), problem=type(error).__name__)

    def _places(self, topics: Sequence[str], latest: bool) -> Offsets:
        """Where a consumer without a group starts. A group that starts at the ends is told so before anyone joins it: who
        takes over from a member that dies early must not skip to a later end."""
        known = self._admin.ends if latest else self._admin.starts
        if self._membership is None:
            return _merged(known(topic) for topic in topics)
        if latest:
            committed = self._admin.committed(self._membership.group, topics)
            ends = _merged(known(topic) for topic in topics)
            unknown = {name: offset for name, offset in ends.items() if name not in committed}
            if unknown:
                self._admin.place(self._membership.group, unknown)
        return {}

    def _start_at(self, places: Offsets) -> None:
        self._consumer.assign(sorted(self._partitions))
        for name, offset in places.items():
            self._consumer.seek(self._partition(name), offset)

    def _take_seat(self, patience: timedelta, assignor: CooperativeStickyAssignor) -> None:
        """Joins, without a fetch: the partitions are paused until the wait is over."""
        seat = _Seat(self._consumer, assignor)
        deadline = time.monotonic() + patience.total_seconds()
        self._consumer.subscribe(list(self._names), listener=seat)
        self._hear_of_topics(deadline)
        while not seat.taken and (left := deadline - time.monotonic()) > 0:
            self._consumer.poll(timeout_ms=int(1000 * min(left, 0.1)))
        seat.ready = True
        self._consumer.resume(*self._consumer.paused())

    def _hear_of_topics(self, deadline: float) -> None:
        """A broker may not tell of a topic that was made a moment ago; who leads a group then would share out nothing of it."""
        for topic in self._names:
            while not self._consumer.partitions_for_topic(topic) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _polled(self) -> dict[TopicPartition, int]:
        return {self._partition(name): offset for name, offset in self.positions().items()} if self._membership else {}

    def _checked(self, offsets: Offsets) -> dict[TopicPartition, int]:
        wanted = {self._partition(name): offset for name, offset in offsets.items()}
        ends = _merged(self._admin.ends(topic) for topic in {topic for topic, _ in offsets})
        for (topic, partition), offset in offsets.items():
            if not 0 <= offset <= ends[topic, partition]:
                end = ends[topic, partition]
                raise InvalidField("offsets", f"{offset} is outside of the log of '{topic}', which ends at {end}.")
        return wanted

    def _commit(self, stored: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """A rebalance that is under way ends first: its rounds take milliseconds once all have polled."""
        deadline = time.monotonic() + self._wait_ms / 1000
        while True:
            try:
                self._consumer.commit(stored, timeout_ms=self._wait_ms)
            except errors.RebalanceInProgressError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _say_left_out(self, partitions: Any) -> None:
        group = self._membership.group if self._membership else None
        _log.warning("commit_left_out", group=group, partitions=sorted(self._name(one) for one in partitions))

    def _partition(self, name: tuple[str, int]) -> TopicPartition:
        found = TopicPartition(self._access.topic(name[0]), name[1])
        if found not in self._partitions:
            raise InvalidField("offsets", f"{name} isn't a partition of this consumer's topics.")
        return found

    def _name(self, partition: TopicPartition) -> tuple[str, int]:
        return self._names[partition.topic], partition.partition


class _Seat(ConsumerRebalanceListener):  # type: ignore[misc]
    """Holds back the records of a member that nobody polls yet; lets one that was buried come back without old claims."""

    def __init__(self, consumer: KafkaConsumer, assignor: CooperativeStickyAssignor) -> None:
        self._consumer = consumer
        self._assignor = assignor
        self.taken = False
        self.ready = False

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Called by kafka-python's thread."""
        if not self.ready:
            self._consumer.pause(*assigned)
        self.taken = True

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing is held back for longer than a poll: see the module."""

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        """Others own them by now. kafka-python 3.0 would claim them all the same when the member joins again."""
        self._assignor.member_assignment = None


def _member_options(access: KafkaAccess, membership: Membership | None, assignor: CooperativeStickyAssignor) -> dict[str, Any]:
    if membership is None:
        return {}
    lease_ms = int(membership.lease.total_seconds() * 1000)
    return {
        "group_id": access.group(membership.group),
        "session_timeout_ms": lease_ms,
        "heartbeat_interval_ms": lease_ms // 4,
        "max_poll_interval_ms": int(membership.most_silence.total_seconds() * 1000),
        "partition_assignment_strategy": [assignor],
    }


def _merged(parts: Any) -> dict[tuple[str, int], int]:
    return {name: offset for part in parts for name, offset in part.items()}


def _record(topic: str, found: Any) -> Record:
    """What others wrote may have no key, no value, or bytes that are no text: shown as empty, or with the mark for such."""
    return Record(
        topic=topic,
        partition=found.partition,
        offset=found.offset,
        key=(found.key or b"").decode(errors="replace"),
        value=found.value or b"",
        headers={name: (value or b"").decode(errors="replace") for name, value in found.headers},
        time=_EPOCH + timedelta(milliseconds=found.timestamp),
    )
