"""The event log: a port, the adapter that the settings choose, and what producers and consumers share.

`events_from` is the one place that decides which engine holds the log; everything else knows only `EventLog`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

import structlog
from pydantic import SecretStr

from services.common.errors import EngineUnavailable, FailedPrecondition
from services.common.events.cloud_events import CloudEvent, envelope, read_envelope
from services.common.events.consume import run_consumer
from services.common.events.dead_letter import DeadLetter, dead_letters, replay, send_to_dead_letter
from services.common.events.measured import MeasuredLog
from services.common.events.port import (
    AUDIT,
    DEAD_LETTER,
    FEEDBACK,
    FEEDBACK_IN,
    MOST_EVENT_BYTES,
    PREDICTIONS,
    REGISTRY,
    TOPICS,
    Consumer,
    Event,
    EventLog,
    Offsets,
    Record,
    Topic,
)
from services.common.events.sqlite_log import SqliteLog

__all__ = [
    "AUDIT",
    "DEAD_LETTER",
    "FEEDBACK",
    "FEEDBACK_IN",
    "MOST_EVENT_BYTES",
    "PREDICTIONS",
    "REGISTRY",
    "TOPICS",
    "CloudEvent",
    "Consumer",
    "DeadLetter",
    "Event",
    "EventLog",
    "Offsets",
    "Record",
    "SqliteLog",
    "Topic",
    "dead_letters",
    "envelope",
    "events_from",
    "open_log",
    "read_envelope",
    "replay",
    "run_consumer",
    "send_to_dead_letter",
]


START_PATIENCE = timedelta(seconds=30)
"""How long a service that starts waits for Kafka, which may be starting too."""

_log = structlog.get_logger(__name__)


class LogSettings(Protocol):
    """The part of the settings that is read here; `CommonSettings` says what each means."""

    @property
    def data_dir(self) -> Path:
        """The folder that holds everything which the embedded engines keep."""
        ...

    @property
    def kafka_bootstrap(self) -> str:
        """Empty for the embedded log."""
        ...

    @property
    def kafka_security_protocol(self) -> Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]: ...
    @property
    def kafka_ca_file(self) -> Path | None: ...
    @property
    def kafka_cert_file(self) -> Path | None: ...
    @property
    def kafka_key_file(self) -> Path | None: ...
    @property
    def kafka_sasl_mechanism(self) -> Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]: ...
    @property
    def kafka_username(self) -> str | None: ...
    @property
    def kafka_password(self) -> SecretStr | None: ...
    @property
    def kafka_topic_prefix(self) -> str: ...
    @property
    def kafka_replication(self) -> int: ...


def events_from(settings: LogSettings) -> EventLog:
    """The log that the settings name, with Regrow's topics in it. A Kafka that starts at the same time is waited for.

    Raises `EngineUnavailable` where it can't be opened, `InvalidField` and `FailedPrecondition` where settings or cluster
    must be changed first.
    """
    if not settings.kafka_bootstrap:
        log: EventLog = SqliteLog(settings.data_dir / "events.db")
        log.ensure_topics()
        return MeasuredLog(log)
    log = _kafka(settings)
    try:
        _patiently(log.ensure_topics)
    except BaseException:
        log.close()
        raise
    return MeasuredLog(log)


def open_log(settings: LogSettings) -> EventLog:
    """The log that the settings name, as it is: no topic is made and nothing is waited for."""
    return _kafka(settings) if settings.kafka_bootstrap else SqliteLog(settings.data_dir / "events.db")


def _kafka(settings: LogSettings) -> EventLog:
    try:
        from services.common.events.kafka_access import KafkaAccess
        from services.common.events.kafka_log import KafkaLog
    except ImportError:
        raise FailedPrecondition(
            "REGROW_KAFKA_BOOTSTRAP is set, but kafka-python isn't installed: pip install 'regrow[kafka]'.",
            reason="KAFKA_NOT_INSTALLED",
        ) from None
    access = KafkaAccess(
        bootstrap=settings.kafka_bootstrap,
        protocol=settings.kafka_security_protocol,
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password,
        prefix=settings.kafka_topic_prefix,
        replication=settings.kafka_replication,
    )
    return KafkaLog(access)


def _patiently(call: Callable[[], None]) -> None:
    deadline = time.monotonic() + START_PATIENCE.total_seconds()
    while True:
        try:
            return call()
        except EngineUnavailable as error:
            if time.monotonic() > deadline:
                raise
            _log.warning("waiting for the event log", problem=error.message)
            time.sleep(error.retry_after.total_seconds() / 2)
