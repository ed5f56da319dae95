"""Appending to Kafka: acknowledged by every in-sync replica (acks=all), each record once however often it is sent again.

One idempotent producer serves a process: what its threads append at the same time travels in common batches. Without
transactions, on purpose: their markers would take offsets of their own, so that no reader could count records by offsets.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from kafka import KafkaProducer, errors
from kafka.partitioner.default import murmur2
from kafka.producer.future import FutureRecordMetadata

from services.common.errors import InvalidField, NotFound, RegrowError, TooLarge
from services.common.events.kafka_access import FAILURES, KafkaAccess
from services.common.events.kafka_admin import KafkaAdmin
from services.common.events.kafka_network import opened
from services.common.events.port import MOST_EVENT_BYTES, Event

MOST_MESSAGE_BYTES = MOST_EVENT_BYTES + (1 << 20)
"""An event with its headers, as the topics' `max.message.bytes` allows it."""

MOST_WAITING_BYTES = 64 << 20
"""What a process holds unacknowledged; beyond, callers wait. A single larger batch goes alone."""

_BATCH_BYTES = 512 << 10
"""A partition has one batch under way at a time; Kafka's default of 16 KiB would send 1,000 events in 20 turns."""
_GRACE_SECONDS = 1.0

_Message = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""(key, value, headers)"""


class KafkaAppender:
    """The writing half of the log. For any number of threads."""

    def __init__(self, access: KafkaAccess, admin: KafkaAdmin, *, wait: timedelta) -> None:
        self._access = access
        self._admin = admin
        self._wait = wait.total_seconds()
        milliseconds = int(self._wait * 1000)
        self._options = access.options(wait) | {
            "delivery_timeout_ms": milliseconds,
            "request_timeout_ms": milliseconds * 4 // 5,
            "max_block_ms": milliseconds,
            "max_request_size": MOST_MESSAGE_BYTES,
            "batch_size": _BATCH_BYTES,
            "enable_idempotence": True,
            "acks": "all",
            "allow_auto_create_topics": False,
        }
        self._making = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._closed = False
        self._room = threading.Condition()
        self._waiting = 0

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        """See `EventLog.append`."""
        messages = [_message(event, number) for number, event in enumerate(events)]
        self._admin.partitions(topic)
        deadline = time.monotonic() + self._wait
        with self._space(sum(len(key) + len(value) for key, value, _ in messages)):
            producer = self._ready()
            try:
                name = self._access.topic(topic)
                places = _places(sorted(producer.partitions_for(name)), {key for key, _, _ in messages})
                sent = [
                    producer.send(name, value, key=key, headers=headers, partition=places[key])
                    for key, value, headers in messages
                ]
                return _settled(sent, deadline + _GRACE_SECONDS)
            except FAILURES as error:
                raise self._failed(producer, topic, error) from None

    def close(self) -> None:
        """Gives what is under way a moment, then ends the producer's thread."""
        with self._making:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer, seconds=1.0)

    def _ready(self) -> KafkaProducer:
        if not self._making.acquire(timeout=self._wait):
            raise self._access.told(errors.KafkaTimeoutError())
        try:
            if self._closed:
                raise self._access.told(errors.IllegalStateError())
            if self._producer is None:
                self._producer = opened(KafkaProducer, self._options)
        except FAILURES as error:
            raise self._access.told(error, opening=True) from None
        else:
            return self._producer
        finally:
            self._making.release()

    def _failed(self, producer: KafkaProducer, topic: str, error: Exception) -> RegrowError:
        if isinstance(error, errors.UnknownTopicOrPartitionError):
            self._admin.forget(topic)
            return NotFound("topic", topic, "Make it with ensure_topics.")
        if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
            return TooLarge("An event with its headers", limit=f"the max.message.bytes of Kafka's topic '{topic}'")
        if isinstance(error, _UnsettledError) or not getattr(error, "retriable", False):
            self._discard(producer)
        return self._access.told(error)

    def _discard(self, producer: KafkaProducer) -> None:
        """A producer that is stuck would send its records much later, after their callers were told that it failed."""
        with self._making:
            if self._producer is producer:
                self._producer = None
        _end(producer, seconds=0.0)

    @contextlib.contextmanager
    def _space(self, size: int) -> Iterator[None]:
        with self._room:
            fits = self._room.wait_for(lambda: not self._waiting or self._waiting + size <= MOST_WAITING_BYTES, self._wait)
            if not fits:
                raise self._access.told(errors.KafkaTimeoutError())
            self._waiting += size
        try:
            yield
        finally:
            with self._room:
                self._waiting -= size
                self._room.notify_all()


def _places(partitions: Sequence[int], keys: set[bytes]) -> dict[bytes, int]:
    """Where Kafka's default partitioner puts each key; asked once a key: in Python it takes a quarter of a record's time."""
    return {key: partitions[(murmur2(key) & 0x7FFFFFFF) % len(partitions)] for key in keys}


class _UnsettledError(errors.KafkaTimeoutError):  # type: ignore[misc]
    """Whether the records are committed isn't known, and the producer doesn't come to an end with them."""


def _settled(sent: Sequence[FutureRecordMetadata], deadline: float) -> Sequence[tuple[int, int]]:
    """Waits for all of them, whatever becomes of some: who sends the batch again must not overtake its own records."""
    failure: Exception | None = None
    for future in sent:
        try:
            future.get(timeout=max(0.0, deadline - time.monotonic()))
        except errors.KafkaError as error:
            failure = failure or error
    if not all(future.is_done for future in sent):
        raise _UnsettledError
    if failure is not None:
        raise failure
    return [(future.value.partition, future.value.offset) for future in sent]


def _message(event: Event, number: int) -> _Message:
    try:
        key = event.key.encode()
        headers = [(name, value.encode()) for name, value in event.headers.items()]
        for name in event.headers:
            name.encode()
    except UnicodeEncodeError:
        raise InvalidField(f"events[{number}]", "its key or a header has half of a surrogate pair; send valid text.") from None
    if (size := len(key) + len(event.value)) > MOST_EVENT_BYTES:
        raise TooLarge(f"Event {number} ({size} bytes)", limit=f"{MOST_EVENT_BYTES >> 20} MiB")
    return key, event.value, headers


def _end(producer: KafkaProducer, *, seconds: float) -> None:
    """kafka-python 3.0 gives up its close at records that can't be sent, and leaves its thread trying to send them."""
    try:
        producer.close(timeout=seconds)
    except Exception:
        with contextlib.suppress(Exception):
            producer._sender.force_close()
            producer._sender.join(_GRACE_SECONDS)
            producer.close(timeout=0)
