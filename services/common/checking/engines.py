"""Checks of the engines that a service stands on, of its peers, and of the collector that its traces go to."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from services.common.checking.findings import Finding, ok, problem, warning
from services.common.checking.machine import clock
from services.common.database import state_of
from services.common.errors import EngineUnavailable
from services.common.events import open_log
from services.common.events.lag import READERS, lag_of
from services.common.events.port import DEAD_LETTER, TOPICS, EventLog
from services.common.objects import DATASETS, MODELS, missing_buckets, objects_from
from services.common.rpc.health import problem_of
from services.common.settings import CommonSettings
from services.common.tls import own_certificate

_MUCH_LAG = 10_000
_CALLS = {"gateway": ("labeling", "training", "registry"), "training": ("labeling", "registry")}
_SECONDS = 3.0


def database(settings: CommonSettings, migrations: Path) -> Iterator[Finding]:
    """That it answers, how its schema stands, and its clock."""
    url = settings.database()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        yield ok("database", "A SQLite file, which is made at the first start.")
        return
    asked = datetime.now(UTC)
    state = state_of(url, migrations=migrations)
    answered = datetime.now(UTC)
    if state.unknown:
        todo = "Install the newer Regrow that wrote it, or restore a backup."
        yield problem("database", f"Its schema {state.current} is newer than this Regrow.", todo)
    elif not state.current:
        yield ok("database", "It answers and is empty; the first start of the service makes its tables.")
    elif state.current != state.newest:
        found = f"Its schema is {state.current}; this Regrow has {state.newest}."
        yield warning("database", found, "Back up; the next start of the service migrates it.")
    else:
        yield ok("database", f"It answers; its schema is the newest ({state.current}).")
    if state.time is not None:
        yield clock("database clock", state.time, asked, answered)


def event_log(settings: CommonSettings) -> Iterator[Finding]:
    """That it answers and has its topics, how far its readers are, and what was set aside."""
    if not settings.kafka_bootstrap and not (settings.data_dir / "events.db").exists():
        yield ok("event log", "A SQLite file, which is made at the first start.")
        return
    log = open_log(settings)
    try:
        where = f"Kafka at {settings.kafka_bootstrap}" if settings.kafka_bootstrap else "The SQLite log"
        if missing := log.missing_topics():
            yield _without(where, missing)
            return
        log.check()
        yield ok("event log", f"{where} answers.")
        for group, topic in READERS:
            yield _lag(log, group, topic)
        yield _dead_letters(log)
    finally:
        log.close()


def _without(where: str, missing: Sequence[str]) -> Finding:
    if len(missing) == len(TOPICS):
        return ok("event log", f"{where} answers and has no topic of Regrow; the first start makes them.")
    todo = "The next start of a service makes what is missing, empty: what was in it is gone, and readers go on without it."
    return warning("event log", f"{where} answers, but has no topic {', '.join(missing)} any more.", todo)


def _lag(log: EventLog, group: str, topic: str) -> Finding:
    waiting = lag_of(log, group, topic)
    check, found = f"lag of {group}", f"{waiting:,} events of {topic} wait."
    if waiting < _MUCH_LAG:
        return ok(check, found)
    todo = f"Look for `consumer_waits` in the log of {group}; where it is merely slow, start another process of it."
    return warning(check, found, todo)


def _dead_letters(log: EventLog) -> Finding:
    count = sum(log.ends(DEAD_LETTER).values())
    if not count:
        return ok("dead letters", "No event was ever set aside.")
    todo = "The readers' logs say why (`dead_letter`); they can be put back once that is mended."
    return warning("dead letters", f"{count:,} events were set aside in all.", todo)


def objects(settings: CommonSettings) -> Iterator[Finding]:
    """That the store answers, and its clock."""
    if settings.minio_endpoint:
        yield _clock_of(settings.minio_endpoint, settings.minio_ca_file)
        yield _buckets(f"MinIO at {settings.minio_endpoint}", missing_buckets(settings))
    elif not (settings.data_dir / "objects").exists():
        yield ok("objects", "A folder, which is made at the first start.")
    else:
        objects_from(settings).check()
        yield ok("objects", "The folder of objects answers.")


def _buckets(where: str, missing: Sequence[str]) -> Finding:
    if len(missing) == len((DATASETS, MODELS)):
        return ok("objects", f"{where} answers and has no bucket of Regrow; the first start makes them.")
    if missing:
        return problem("objects", f"{where} has no bucket {missing[0]} any more.", "Restore it from a backup.")
    return ok("objects", f"{where} answers.")


def _clock_of(endpoint: str, ca_file: Path | None) -> Finding:
    """By the `Date` header, which an answer of any status has."""
    trusted = ssl.create_default_context(cafile=ca_file)
    request, asked = urllib.request.Request(endpoint, method="HEAD"), datetime.now(UTC)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=trusted) as answer:
            sent = answer.headers.get("Date")
    except urllib.error.HTTPError as refusal:
        sent = refusal.headers.get("Date")
    except OSError as error:
        raise EngineUnavailable("objects", f"{endpoint} can't be reached ({getattr(error, 'reason', error)})") from None
    if not sent:
        return ok("objects clock", "The store tells no time.")
    return clock("objects clock", parsedate_to_datetime(sent), asked, datetime.now(UTC))


def peers(settings: CommonSettings, service: str) -> Iterator[Finding]:
    """That the services which this one calls are there."""
    addresses = {
        "labeling": settings.labeling_address, "training": settings.training_address, "registry": settings.registry_address
    }  # fmt: skip
    certificate = own_certificate(settings)
    for peer in _CALLS.get(service, ()):
        if wrong := problem_of(addresses[peer], certificate=certificate):
            yield warning(f"service {peer}", wrong, f"Start it, or set REGROW_{peer.upper()}_ADDRESS to where it is.")
        else:
            yield ok(f"service {peer}", f"It answers on {addresses[peer]}.")


def collector(settings: CommonSettings) -> Iterator[Finding]:
    """That the collector of traces takes connections, where one is named."""
    if not settings.otlp_endpoint:
        return
    parts = urllib.parse.urlsplit(settings.otlp_endpoint)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 4317), timeout=_SECONDS):
            yield ok("collector", f"{settings.otlp_endpoint} takes connections.")
    except OSError as error:
        todo = "Start it, or unset REGROW_OTLP_ENDPOINT; meanwhile traces are lost, and nothing else."
        found = f"{settings.otlp_endpoint} can't be reached ({error.strerror or error})."
        yield warning("collector", found, todo)
