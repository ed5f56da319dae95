"""What others are told: everything that was committed, in order, whatever dies when."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from regrow.events.v1 import events_pb2
from services.common.database import Database
from services.common.errors import EngineUnavailable
from services.common.events import REGISTRY, Event, EventLog, Record, SqliteLog, read_envelope
from services.common.objects import ObjectStore
from services.registry.handlers import Registry
from services.registry.models import NewVersion
from services.registry.outbox import Publisher

ROOT = Path(__file__).parents[2]
TONE = "projects/shop/models/tone"


def records(events: EventLog, *, at_least: int = 0, within: float = 10.0) -> list[Record]:
    """All of the topic, read again until there are enough."""
    deadline = time.monotonic() + within
    consumer, found = events.consumer([REGISTRY]), list[Record]()
    try:
        while len(found) < at_least and time.monotonic() < deadline:
            found += consumer.poll(timeout=timedelta(milliseconds=50))
        return found + list(consumer.poll(timeout=timedelta(milliseconds=1)))
    finally:
        consumer.close()


def changes(events: EventLog, *, at_least: int = 0) -> list[events_pb2.RegistryChange]:
    return [events_pb2.RegistryChange.FromString(record.value) for record in records(events, at_least=at_least)]


def first_occurrences(sequences: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(sequences))


class FailingLog:
    """A real log that can be away, before it takes an event or just after."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.away: str = ""

    def append(self, topic: str, batch: Sequence[Event]) -> Sequence[tuple[int, int]]:
        if self.away == "before":
            raise EngineUnavailable("events", "it is away")
        written = self.log.append(topic, batch)
        if self.away == "after":
            raise EngineUnavailable("events", "it went away")
        return written


def test_every_kind_of_change_is_told_with_what_readers_need(
    registry: Registry, database: Database, events: SqliteLog, new_version: Callable[..., NewVersion]
) -> None:
    registry.create_version(TONE, new_version())
    registry.set_alias(f"{TONE}/aliases/champion", f"{TONE}/versions/1", "", moved_by="ada", why="")
    registry.create_project("toys", "")
    registry.delete_project("projects/toys")
    publisher = Publisher(database, events)
    assert publisher.publish() == 6
    assert publisher.publish() == 0
    told = changes(events)
    assert [(c.sequence, c.change, c.name, c.model, c.version, c.alias) for c in told] == [
        (1, "project.created", "projects/shop", "", 0, ""),
        (2, "model.created", TONE, TONE, 0, ""),
        (3, "version.created", f"{TONE}/versions/1", TONE, 1, ""),
        (4, "alias.moved", f"{TONE}/aliases/champion", TONE, 1, "champion"),
        (5, "project.created", "projects/toys", "", 0, ""),
        (6, "project.deleted", "projects/toys", "", 0, ""),
    ]
    written = records(events)
    assert [record.key for record in written] == ["projects/shop", TONE, TONE, TONE, "projects/toys", "projects/toys"]
    header = read_envelope(written[3].headers)
    assert (header.id, header.type, header.subject) == ("4", "regrow.registry.v1", f"{TONE}/aliases/champion")
    assert header.time == told[3].change_time.ToDatetime(tzinfo=header.time.tzinfo)


def test_what_was_refused_is_not_told(registry: Registry, database: Database, events: SqliteLog) -> None:
    with pytest.raises(Exception, match="exists"):
        registry.create_project("shop", "")
    Publisher(database, events).publish()
    assert [change.sequence for change in changes(events)] == [1, 2]


def test_a_commit_is_told_at_once_not_at_the_next_look(database: Database, objects: ObjectStore, events: SqliteLog) -> None:
    publisher = Publisher(database, events)
    registry = Registry(database, objects, changed=publisher.wake)
    publisher.start()
    try:
        took = []
        for n in range(5):
            began = time.monotonic()
            registry.create_project(f"p-{n}", "")
            assert len(records(events, at_least=n + 1)) == n + 1
            took.append(time.monotonic() - began)
    finally:
        publisher.stop()
    assert sorted(took)[2] < 0.4, "the publisher looks by itself only every second"


@pytest.mark.parametrize("away", ["before", "after"])
def test_a_log_that_fails_delays_changes_but_loses_and_reorders_none(
    away: str, registry: Registry, database: Database, events: SqliteLog
) -> None:
    failing = FailingLog(events)
    failing.away = away
    publisher = Publisher(database, failing)  # type: ignore[arg-type]
    for n in range(3):
        with pytest.raises(EngineUnavailable):
            publisher.publish()
        registry.create_project(f"p-{n}", "")
    failing.away = ""
    publisher.publish()
    sequences = [change.sequence for change in changes(events)]
    assert first_occurrences(sequences) == [1, 2, 3, 4, 5]
    assert len(sequences) == (5 if away == "before" else 5 + 2 + 3 + 4)


def test_the_thread_outlives_errors_and_stop_publishes_what_is_left(
    registry: Registry, database: Database, events: SqliteLog
) -> None:
    failing = FailingLog(events)
    failing.away = "before"
    publisher = Publisher(database, failing)  # type: ignore[arg-type]
    publisher.start()
    time.sleep(0.05)
    failing.away = ""
    publisher.stop()
    assert [change.sequence for change in changes(events)] == [1, 2]


def test_two_publishers_on_one_database_keep_the_order(
    registry: Registry, database: Database, objects: ObjectStore, events: SqliteLog
) -> None:
    publishers = [Publisher(database, events) for _ in range(2)]
    busy = Registry(database, objects, changed=lambda: [publisher.wake() for publisher in publishers] and None)
    for publisher in publishers:
        publisher.start()
    for n in range(20):
        busy.create_project(f"p-{n}", "")
    for publisher in publishers:
        publisher.stop()
    assert first_occurrences([change.sequence for change in changes(events)]) == list(range(1, 23))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from services.common.database import open_database
    from services.common.events import SqliteLog
    from services.common.objects import DirectoryStore
    from services.registry.app import MIGRATIONS
    from services.registry.handlers import Registry
    from services.registry.outbox import Publisher

    url, folder, moment = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    database, log = open_database(url, migrations=MIGRATIONS), SqliteLog(folder / "events.db")
    log.ensure_topics()
    append = log.append

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def append_and_die(topic, events):
        append(topic, events)
        die()

    registry = Registry(database, DirectoryStore(folder / "objects"), changed=die if moment == "before" else lambda: None)
    if moment == "before":
        registry.create_project("killed", "")
    registry.create_project("killed", "")
    log.append = append_and_die
    Publisher(database, log).publish()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "expected"), [("before", [1]), ("after", [1, 1])])
def test_what_was_committed_before_a_kill_is_told_after_the_next_start(
    moment: str, expected: list[int], url: str, database: Database, events: SqliteLog, tmp_path: Path
) -> None:
    """Killed between the commit and the append, or between the append and the note of it: then it is told twice."""
    script = [sys.executable, "-c", textwrap.dedent(KILLED), url, str(tmp_path), moment]
    child = subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    publisher = Publisher(database, events)
    publisher.start()
    found = changes(events, at_least=len(expected))
    publisher.stop()
    assert [change.sequence for change in found] == expected
    assert {change.name for change in found} == {"projects/killed"}
