"""The audit log by itself: kept in order, told to the event log, outlasting a database that is away, cut where too large."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from regrow.events.v1 import events_pb2
from regrow.gateway.v1 import gateway_pb2
from regrow.registry.v1 import registry_pb2
from services.common.database import Database, now
from services.common.errors import EngineUnavailable
from services.common.events import AUDIT, SqliteLog, read_envelope
from services.common.listing import Asked
from services.common.rpc.principal import Principal
from services.gateway.audit import storage
from services.gateway.audit.handlers import list_events
from services.gateway.audit.repeats import Repeats
from services.gateway.audit.rules import MOST_JSON_BYTES, AuditEvent, as_json, resource_of
from services.gateway.audit.storage import Filter
from services.gateway.audit.trail import Trail
from services.gateway.keys.storage import open_keys

ALL = Filter(projects=("*",))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_keys(f"sqlite:///{tmp_path}/gateway.db")
    yield opened
    opened.close()


@pytest.fixture
def events(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "events.db")
    log.ensure_topics()
    yield log
    log.close()


class Away:
    """The database, which can be away."""

    def __init__(self, database: Database) -> None:
        self.database, self.away = database, False

    @contextmanager
    def session(self) -> Iterator[Any]:
        if self.away:
            raise EngineUnavailable("database", "it is away")
        with self.database.session() as session:
            yield session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


def event(number: int, **changes: Any) -> AuditEvent:
    fields = {
        "time": now(), "request_id": f"r{number}", "method": "regrow.registry.v1.AliasService/SetAlias", "project": "shop",
        "resource": "projects/shop/models/m/aliases/champion", "actor": Principal(key_id="k", role="editor", name="ann"),
    }  # fmt: skip
    return AuditEvent(**{**fields, **changes})


def kept(database: Database, wanted: Filter = ALL) -> list[str]:
    return [row.request_id for row in list_events(database, wanted, Asked(size=1000))[0]]


def told(log: SqliteLog, count: int) -> list[events_pb2.AuditEvent]:
    consumer, found, end = log.consumer([AUDIT]), [], time.monotonic() + 30
    while len(found) < count and time.monotonic() < end:
        found += consumer.poll(timeout=timedelta(milliseconds=50))
    consumer.close()
    assert all(read_envelope(one.headers).type == "regrow.audit.v1" for one in found)
    return [events_pb2.AuditEvent.FromString(one.value) for one in found]


def test_events_of_many_callers_are_kept_and_told_in_one_order(database: Database, events: SqliteLog) -> None:
    trail = Trail(database, events, days=1)
    trail.start()
    threads = [threading.Thread(target=lambda: [trail.offer(event(n)) for n in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail.close(30)
    assert len(kept(database)) == 200
    heard = told(events, 200)
    assert [one.number for one in heard] == list(range(1, 201))
    assert [one.request_id for one in heard] == list(reversed(kept(database)))


def test_two_gateways_on_one_database_give_each_number_once(database: Database, events: SqliteLog) -> None:
    trails = [Trail(database, events, days=1) for _ in range(2)]
    for trail in trails:
        trail.start()
    for number in range(60):
        trails[number % 2].offer(event(number))
    for trail in trails:
        trail.close(30)
    assert len(set(kept(database))) == 60
    numbers = list(dict.fromkeys(one.number for one in told(events, 60)))
    assert numbers == list(range(1, 61))


def test_a_recorded_event_is_committed_when_the_call_goes_on(database: Database, events: SqliteLog) -> None:
    trail = Trail(database, events, days=1, patience=30)
    trail.start()
    asyncio.run(trail.record(event(1)))
    assert kept(database) == ["r1"]
    trail.close(30)


def test_while_the_database_is_away_no_further_change_is_made_and_nothing_is_lost(
    database: Database, events: SqliteLog
) -> None:
    away = Away(database)
    trail = Trail(away, events, days=1, patience=0.2)  # type: ignore[arg-type]
    trail.start()
    trail.check()
    away.away = True
    asyncio.run(trail.record(event(1)))
    with pytest.raises(EngineUnavailable) as refused:
        trail.check()
    assert "none is made" in refused.value.message
    away.away = False
    end = time.monotonic() + 30
    while not kept(database) and time.monotonic() < end:
        time.sleep(0.02)
    assert kept(database) == ["r1"]
    trail.check()
    trail.close(30)


def test_refusals_that_are_repeated_become_one_event_that_counts_them(database: Database, events: SqliteLog) -> None:
    trail = Trail(database, events, days=1, repeat_seconds=0.5)
    trail.start()
    refused = {"outcome": "PERMISSION_DENIED", "reason": "PERMISSION_DENIED"}
    for number in range(60):
        trail.offer_refusal(event(number, source=f"10.0.0.7:{number}", **refused))
    trail.offer_refusal(event(60, source="10.0.0.8:1", actor=Principal(key_id="other", role="viewer"), **refused))
    end = time.monotonic() + 30
    while len(kept(database)) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    with database.reading() as session:
        rows = {row.request_id: row for row in storage.page(session, ALL)[0]}
    assert {name: row.calls for name, row in rows.items()} == {"r0": 1, "r60": 1, "r59": 59}
    assert rows["r59"].source == "10.0.0.7" and rows["r59"].resource == rows["r0"].resource
    trail.offer_refusal(event(61, source="10.0.0.8:1", **refused))
    trail.offer_refusal(event(62, source="10.0.0.7:1", resource="projects/shop/models/n", **refused))
    trail.close(30)
    assert sum(one.call_count for one in told(events, len(kept(database)))) == 63, "nothing that was counted is lost at the end"


def test_what_is_counted_of_refusals_is_bounded(database: Database) -> None:
    repeats = Repeats(seconds=60, most=10)
    for number in range(1000):
        for _ in range(3):
            repeats.is_first(event(number, actor=Principal(key_id=f"k{number}", role="viewer")), float(number) / 1000)
        repeats.due(float(number) / 1000)
    assert len(repeats._windows) <= 10
    assert all(one.calls == 2 for one in repeats.rest()) and repeats.seconds_left(0.0) is None


def test_what_cant_be_kept_by_the_end_is_in_the_log_whole(database: Database, events: SqliteLog) -> None:
    away = Away(database)
    away.away = True
    trail = Trail(away, events, days=1, patience=0.1)  # type: ignore[arg-type]
    with capture_logs() as logs:
        trail.start()
        trail.offer(event(17, after='{"version": 2}'))
        trail.close(0.3)
    assert "r17" in (written := str(logs))
    assert "version" in written


def test_old_events_are_forgotten_once_they_are_told(database: Database) -> None:
    old = now() - timedelta(days=10)
    with database.session() as session:
        storage.add(session, [event(1, time=old), event(2, time=old), event(3)])
        storage.note_published(session, 1)
    with database.session() as session:
        assert storage.forget_before(session, now() - timedelta(days=5)) == 1
    assert kept(database) == ["r3", "r2"]


def test_a_filter_finds_what_lies_in_a_resource_and_never_more_than_the_viewer_may_see(database: Database) -> None:
    ann, bob = Principal(key_id="k", role="editor"), Principal(key_id="oidc:1", role="admin", subject="bob")
    with database.session() as session:
        storage.add(session, [
            event(1, actor=ann, outcome="PERMISSION_DENIED"),
            event(2, actor=bob, resource="projects/shop/models/mm", method="regrow.registry.v1.ModelService/CreateModel"),
            event(3, project="bank", resource="projects/bank"),
            event(4, project="", resource="keys/k_1"),
        ])  # fmt: skip
    found = {
        "r1": Filter(projects=("*",), resource="projects/shop/models/m"),
        "r2r1": Filter(projects=("*",), resource="projects/shop"),
        "r2": Filter(projects=("*",), actor="bob"),
        "r3": Filter(projects=("bank",)),
        "": Filter(projects=("bank",), resource="projects/shop"),
        "r4r3r1": Filter(projects=("*",), method="SetAlias"),
        "r4": Filter(projects=("*",), resource="keys/k_1", start=now() - timedelta(hours=1), end=now() + timedelta(hours=1)),
    }
    assert {"".join(kept(database, wanted)) for wanted in found.values()} == set(found)
    assert kept(database, Filter(projects=("*",), outcome="permission_denied")) == ["r1"]
    with database.reading() as session:
        denied = storage.page(session, ALL, Asked(filter="outcome = PERMISSION_DENIED"))
        by_method = storage.page(session, ALL, Asked(filter='NOT actor.subject = "bob"', order_by="method, request_id desc"))
    assert [row.request_id for row in denied[0]] == ["r1"]
    assert [row.request_id for row in by_method[0]] == ["r4", "r3", "r1"]
    assert kept(database, Filter(projects=("*",), resource="keys/k%")) == []
    assert kept(database, Filter(projects=("*",), end=now() - timedelta(hours=1))) == []


def test_a_name_with_control_characters_is_kept_without_them(database: Database) -> None:
    with database.session() as session:
        storage.add(session, [event(1, resource="projects/shop\x00\x1b[31m" + "x" * 2000)])
    with database.reading() as session:
        ((row,), _) = storage.page(session, ALL)
    assert "\x00" not in row.resource and "\x1b" not in row.resource and len(row.resource) == 1000


def test_json_is_bounded_and_has_no_secret() -> None:
    answer = gateway_pb2.CreateKeyResponse(key=gateway_pb2.Key(name="keys/a"), secret="rg_secret")
    assert "rg_secret" not in as_json(answer) and "keys/a" in as_json(answer)
    assert resource_of(answer) == "keys/a"
    large = as_json(registry_pb2.Model(name="projects/p/models/m", description="x" * 100_000))
    assert len(large) < MOST_JSON_BYTES and '"cut":true' in large
    endless = as_json(registry_pb2.Model(description="x" * 5_000_000))
    assert len(endless) < 100
    assert as_json(None) == as_json(registry_pb2.Model()) == ""
