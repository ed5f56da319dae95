"""What only the SQLite log has: a file that can be locked, damaged, lost or full, and retention of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.errors import EngineUnavailable, NotFound
from services.common.events import FEEDBACK, PREDICTIONS, REGISTRY, TOPICS, Event, SqliteLog, Topic, events_from
from services.common.settings import CommonSettings

ROOT = Path(__file__).parents[3]
NOW = timedelta(0)
ONE = [Event(key="m", value=b"1")]


def everything(log: SqliteLog) -> list[Callable[[], object]]:
    """Each way of using the log."""
    return [
        lambda: log.append(REGISTRY, ONE),
        lambda: log.consumer([REGISTRY]),
        lambda: log.consumer([REGISTRY], group="g"),
        lambda: log.ends(REGISTRY),
        lambda: log.committed("g", REGISTRY),
        log.apply_retention,
        log.ensure_topics,
        log.check,
    ]


def read(log: SqliteLog, topic: str) -> list[bytes]:
    with closing(log.consumer([topic])) as consumer:
        return [record.value for _ in range(20) for record in consumer.poll(timeout=NOW)]


def test_settings_choose_a_file_in_the_data_folder_with_the_topics_in_it(tmp_path: Path) -> None:
    log = events_from(CommonSettings(data_dir=tmp_path / "new" / "folder"))
    assert all(log.ends(topic.name) for topic in TOPICS)
    assert (tmp_path / "new" / "folder" / "events.db").exists()
    log.close()


def test_a_locked_file_is_told_after_a_bounded_wait(log: SqliteLog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(EngineUnavailable, match="another process holds"):
            log.append(REGISTRY, ONE)
        assert 0.3 <= time.monotonic() - began < 2
        assert log.ends(REGISTRY) == {(REGISTRY, 0): 0}  # who only reads doesn't wait
        other.execute("ROLLBACK")
    assert log.append(REGISTRY, ONE) == [(0, 0)]


def test_a_write_waits_for_a_lock_that_is_given_back_in_time(log: SqliteLog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.1, lambda: other.execute("ROLLBACK")).start()
        assert log.append(REGISTRY, ONE) == [(0, 0)]


def test_a_missing_file_is_told_by_every_call_and_not_made_anew(log: SqliteLog, tmp_path: Path) -> None:
    log.append(REGISTRY, ONE)
    with closing(log.consumer([REGISTRY], group="g")) as consumer:
        (tmp_path / "events.db").rename(tmp_path / "away")
        for call in [*everything(log), lambda: consumer.poll(timeout=NOW), consumer.lag]:
            with pytest.raises(EngineUnavailable, match="is missing"):
                call()
        assert not (tmp_path / "events.db").exists()
        (tmp_path / "away").rename(tmp_path / "events.db")
        assert len(consumer.poll(timeout=NOW)) == 1


def test_a_restored_backup_is_taken_up_without_a_restart(log: SqliteLog, tmp_path: Path) -> None:
    log.append(REGISTRY, ONE)
    with closing(sqlite3.connect(tmp_path / "events.db")) as source, closing(sqlite3.connect(tmp_path / "backup")) as backup:
        source.backup(backup)
    log.append(REGISTRY, [Event(key="m", value=b"lost")])
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", tmp_path / "events.db")
    assert log.append(REGISTRY, [Event(key="m", value=b"2")]) == [(0, 1)]
    assert read(log, REGISTRY) == [b"1", b"2"]


def test_a_damaged_file_is_told_at_the_start_and_at_work(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    path = tmp_path / "events.db"
    path.write_bytes(b"this was a database once" * 500)
    with pytest.raises(EngineUnavailable, match="is damaged"):
        SqliteLog(path)
    (tmp_path / "other").mkdir()
    with closing(SqliteLog(tmp_path / "other" / "events.db")) as fresh:
        fresh.ensure_topics()
        (tmp_path / "other" / "events.db-wal").unlink()
        (tmp_path / "other" / "events.db-shm").unlink()
        (tmp_path / "other" / "events.db").unlink()
        shutil.copy(path, tmp_path / "other" / "events.db")
        for call in everything(fresh):
            with pytest.raises(EngineUnavailable, match="is damaged"):
                call()


def test_a_file_of_a_newer_layout_is_refused(log: SqliteLog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        connection.execute("PRAGMA user_version=2")
    with pytest.raises(EngineUnavailable, match="install a newer one"):
        SqliteLog(tmp_path / "events.db")


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "events.db").mkdir()
    with pytest.raises(EngineUnavailable, match="can't be opened"):
        SqliteLog(tmp_path / "events.db", wait=NOW)


def test_a_closed_log_is_told_by_every_call(log: SqliteLog) -> None:
    log.close()
    for call in everything(log):
        with pytest.raises(EngineUnavailable, match="was closed"):
            call()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_loses_nothing_that_was_accepted(small_disk: Path) -> None:
    with closing(SqliteLog(small_disk / "events.db")) as log:
        log.ensure_topics()
        accepted = []
        with pytest.raises(EngineUnavailable, match="the disk is full"):
            for number in range(100):
                log.append(REGISTRY, [Event(key="m", value=b"%d" % number + b" " * 50_000)])
                accepted.append(number)
        assert 5 < len(accepted) < 60
        assert [int(value) for value in read(log, REGISTRY)] == accepted


CAPPED = """
import resource, signal, sys
from pathlib import Path
from services.common.errors import EngineUnavailable
from services.common.events import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqliteLog(Path(sys.argv[1]))
log.ensure_topics()
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    for number in range(100):
        log.append("regrow.registry", [Event(key="m", value=b"%d" % number + b" " * 50_000)])
        print(number)
except EngineUnavailable as error:
    print(error.message, file=sys.stderr)
"""


def test_a_write_that_the_file_system_cuts_short_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    ran = subprocess.run(
        [sys.executable, "-c", CAPPED, str(path)], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert "events can't be reached" in ran.stderr
    accepted = [int(line) for line in ran.stdout.split()]
    assert accepted
    with closing(SqliteLog(path)) as log:
        assert [int(value) for value in read(log, REGISTRY)] == accepted


STARTER = """
import sys
from pathlib import Path
from services.common.events import *
sys.stdin.readline()
log = SqliteLog(Path(sys.argv[1]))
log.ensure_topics()
print(log.append("regrow.registry", [Event(key="m", value=b"1")]))
"""


def test_starts_at_once_make_one_log(tmp_path: Path) -> None:
    ready = threading.Barrier(3)

    def begin(_: int) -> object:
        ready.wait()
        with closing(SqliteLog(tmp_path / "events.db")) as log:
            log.ensure_topics()
            return log.append(REGISTRY, ONE)

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(begin, range(3))) == [[(0, offset)] for offset in range(3)]


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_log(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        for _ in range(3)
    ]
    answers = sorted(starter.communicate("go\n")[0].strip() for starter in starters)
    assert answers == [f"[(0, {offset})]" for offset in range(3)]


def test_an_unknown_topic_spoils_no_append_that_shares_its_transaction(log: SqliteLog, tmp_path: Path) -> None:
    """While the file is locked, good and bad calls pile up; whoever gets the turn commits them together."""
    outcomes: list[object] = []

    def call(topic: str) -> None:
        try:
            outcomes.extend(log.append(topic, ONE))
        except NotFound as error:
            outcomes.append(error.reason)

    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=call, args=(topic,)) for topic in [REGISTRY, "no.such"] * 4]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        other.execute("ROLLBACK")
        for thread in threads:
            thread.join()
    assert sorted(map(str, outcomes)) == [*(f"(0, {offset})" for offset in range(4)), *["NOT_FOUND"] * 4]


def test_calls_that_pile_up_on_a_locked_file_all_give_up_in_bounded_time(log: SqliteLog, tmp_path: Path) -> None:
    problems: list[str] = []

    def call() -> None:
        try:
            log.append(REGISTRY, ONE)
        except EngineUnavailable as error:
            problems.append(error.message)

    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=call) for _ in range(4)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(problems) == 4
    assert time.monotonic() - began < 3
    assert log.append(REGISTRY, ONE) == [(0, 0)]


def test_retention_by_age_removes_what_is_old_and_repeats_no_offset(log: SqliteLog) -> None:
    log.ensure_topics([Topic(name=REGISTRY, partitions=1, retention=timedelta(seconds=0.2))])
    log.append(REGISTRY, [Event(key="m", value=b"old")] * 1200)
    time.sleep(0.25)
    log.append(REGISTRY, [Event(key="m", value=b"young")])
    assert log.apply_retention() == 1200
    assert read(log, REGISTRY) == [b"young"]
    time.sleep(0.25)
    assert log.apply_retention() == 1
    assert log.append(REGISTRY, ONE) == [(0, 1201)]
    assert log.ends(REGISTRY) == {(REGISTRY, 0): 1202}


def test_retention_by_size_removes_the_oldest_until_the_topic_fits(log: SqliteLog) -> None:
    log.ensure_topics([Topic(name=PREDICTIONS, retention_bytes=100_000)])
    for number in range(100):
        log.append(PREDICTIONS, [Event(key=f"k{number}", value=b"%3d" % number + b" " * 1997)])
    removed = log.apply_retention()
    left = sorted(int(value) for value in read(log, PREDICTIONS))
    assert 50 <= removed <= 52
    assert left == list(range(removed, 100))
    assert log.apply_retention() == 0


def test_retention_leaves_other_topics_alone(log: SqliteLog) -> None:
    log.ensure_topics([Topic(name=REGISTRY, partitions=1, retention=NOW)])
    log.append(FEEDBACK, ONE)
    log.append(REGISTRY, ONE)
    assert log.apply_retention() == 1
    assert read(log, FEEDBACK) == [b"1"]


def test_a_group_whose_place_was_removed_goes_on_with_what_is_left_and_counts_only_that(log: SqliteLog) -> None:
    log.append(REGISTRY, [Event(key="m", value=b"old")] * 10)
    with closing(log.consumer([REGISTRY], group="g")) as consumer:
        consumer.poll(timeout=NOW, max_records=2)
        consumer.commit()
        log.ensure_topics([Topic(name=REGISTRY, partitions=1, retention=NOW)])
        log.apply_retention()
        log.append(REGISTRY, ONE)
        assert consumer.lag() == 1
        assert [record.value for record in consumer.poll(timeout=NOW)] == [b"1"]
        consumer.commit()
        assert consumer.lag() == 0


def test_a_member_that_hangs_for_too_long_loses_its_partitions_and_commits_nothing_there(tmp_path: Path) -> None:
    settings = {"lease": timedelta(seconds=0.2), "most_silence": timedelta(seconds=0.2)}
    with closing(SqliteLog(tmp_path / "events.db", **settings)) as log:
        log.ensure_topics()
        log.append(REGISTRY, [Event(key="k", value=b"1")])
        hanging, rival = (log.consumer([REGISTRY], group="g") for _ in range(2))
        assert len(hanging.poll(timeout=NOW)) == 1
        deadline = time.monotonic() + 3
        while not rival.assignment() and time.monotonic() < deadline:
            rival.poll(timeout=timedelta(seconds=0.05))
        assert rival.assignment() == [(REGISTRY, 0)]
        hanging.commit()
        assert set(log.committed("g", REGISTRY).values()) == {0}


def test_a_group_that_starts_at_the_latest_skips_nothing_when_a_member_goes_before_its_first_commit(log: SqliteLog) -> None:
    log.append(REGISTRY, [Event(key="m", value=b"before")])
    log.consumer([REGISTRY], group="g", start="latest").close()
    log.append(REGISTRY, [Event(key="m", value=b"between")])
    with closing(log.consumer([REGISTRY], group="g", start="latest")) as successor:
        assert [record.value for record in successor.poll(timeout=NOW)] == [b"between"]


def test_an_append_of_this_process_wakes_a_poll_without_waiting_for_the_next_look(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.common.events.sqlite_consumer.TICK", 30.0)
    consumer = log.consumer([REGISTRY])
    threading.Timer(0.05, lambda: log.append(REGISTRY, ONE)).start()
    began = time.monotonic()
    assert len(consumer.poll(timeout=timedelta(seconds=10))) == 1
    assert time.monotonic() - began < 5


def test_a_lease_from_the_future_is_over(log: SqliteLog, tmp_path: Path) -> None:
    """The clock was set back after a member died: it must not keep its partitions for as long as that."""
    dead = log.consumer([REGISTRY], group="g")
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
        connection.execute("UPDATE members SET seen = seen + 3600")
    successor = log.consumer([REGISTRY], group="g")
    assert successor.assignment() == [(REGISTRY, 0)]
    assert dead.assignment() == [(REGISTRY, 0)]
    dead.poll(timeout=NOW)
    assert dead.assignment() == []
