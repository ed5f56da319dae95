"""The event log: a port, the adapter that the settings choose, and what producers and consumers share.

`events_from` is the one place that decides which engine holds the log; everything else knows only `EventLog`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from services.common.events.cloud_events import CloudEvent, envelope, read_envelope
from services.common.events.consume import run_consumer
from services.common.events.dead_letter import DeadLetter, dead_letters, replay, send_to_dead_letter
from services.common.events.port import (
    DEAD_LETTER,
    FEEDBACK,
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
    "DEAD_LETTER",
    "FEEDBACK",
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
    "read_envelope",
    "replay",
    "run_consumer",
    "send_to_dead_letter",
]


class LogSettings(Protocol):
    """The part of the settings that is read here."""

    @property
    def data_dir(self) -> Path:
        """The folder that holds everything which the embedded engines keep."""
        ...


def events_from(settings: LogSettings) -> EventLog:
    """The log that the settings name, with Regrow's topics in it. Raises `EngineUnavailable` where it can't be opened."""
    log = SqliteLog(settings.data_dir / "events.db")
    log.ensure_topics()
    return log
