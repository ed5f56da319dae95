from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.common.errors import EngineUnavailable, InvalidField, NotFound
from services.common.events import FEEDBACK, REGISTRY, Event, Record, SqliteLog, dead_letters, run_consumer
from services.common.events.consume import MOST_ATTEMPTS

PAUSE = timedelta(milliseconds=1)


class Running:
    """A consumer loop in a thread of its own, ended when the block ends."""

    def __init__(self, log: SqliteLog, handle: Callable[[Sequence[Record]], None], **settings: object) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=run_consumer, args=(log, [REGISTRY], "g", handle, self._stop), kwargs={"first_pause": PAUSE, **settings}
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def committed(log: SqliteLog) -> int:
    return log.committed("g", REGISTRY)[REGISTRY, 0]


def append(log: SqliteLog, *values: bytes) -> None:
    log.append(REGISTRY, [Event(key="m", value=value) for value in values])


def letters(log: SqliteLog) -> list[tuple[bytes, str]]:
    return [(letter.record.value, letter.reason) for letter in dead_letters(log)]


def test_batches_are_handled_and_then_committed(log: SqliteLog) -> None:
    seen: list[bytes] = []
    at_handling: list[int] = []

    def handle(records: Sequence[Record]) -> None:
        at_handling.append(committed(log))
        seen.extend(record.value for record in records)

    append(log, b"1", b"2", b"3")
    with Running(log, handle, max_records=2):
        wait_for(lambda: committed(log) == 3)
    assert seen == [b"1", b"2", b"3"]
    assert at_handling == [0, 2]


def test_what_is_down_for_a_while_costs_no_record_and_no_order(log: SqliteLog) -> None:
    handled: list[bytes] = []
    failures = iter(range(4))

    def handle(records: Sequence[Record]) -> None:
        if next(failures, None) is not None:
            raise EngineUnavailable("database", "it restarts")
        handled.extend(record.value for record in records)

    append(log, b"1", b"2")
    with Running(log, handle):
        wait_for(lambda: committed(log) == 2)
    assert handled == [b"1", b"2"]
    assert letters(log) == []


def test_the_one_poisoned_record_goes_to_the_dead_letters_and_the_others_are_handled(log: SqliteLog) -> None:
    handled: list[bytes] = []

    def handle(records: Sequence[Record]) -> None:
        if any(record.value == b"poison" for record in records):
            raise InvalidField("label", "no such class")
        handled.extend(record.value for record in records)

    append(log, b"1", b"poison", b"2", b"3")
    with Running(log, handle):
        wait_for(lambda: committed(log) == 4)
    assert handled == [b"1", b"2", b"3"]
    assert letters(log) == [(b"poison", "INVALID_FIELD: label: no such class")]


def test_an_outage_in_the_middle_of_a_poisoned_batch_repeats_only_what_was_not_done(log: SqliteLog) -> None:
    handled: list[bytes] = []
    outages = iter([True])

    def handle(records: Sequence[Record]) -> None:
        if any(record.value == b"poison" for record in records):
            raise InvalidField("label", "no such class")
        if records[0].value == b"3" and next(outages, False):
            assert committed(log) == 0
            raise EngineUnavailable("database", "it restarts")
        handled.extend(record.value for record in records)

    append(log, b"1", b"poison", b"3", b"4")
    with Running(log, handle):
        wait_for(lambda: committed(log) == 4)
    assert handled == [b"1", b"3", b"4"]
    assert [value for value, _ in letters(log)] == [b"poison"]


def test_a_bug_in_the_handler_is_tried_again_and_then_set_aside_without_its_text(log: SqliteLog) -> None:
    attempts: list[bytes] = []

    def handle(records: Sequence[Record]) -> None:
        attempts.extend(record.value for record in records)
        if any(record.value == b"bug" for record in records):
            raise KeyError("the secret of a user")

    append(log, b"bug")
    with Running(log, handle):
        wait_for(lambda: committed(log) == 1)
        append(log, b"fine")
        wait_for(lambda: committed(log) == 2)
    assert attempts == [b"bug"] * MOST_ATTEMPTS + [b"fine"]
    assert letters(log) == [(b"bug", "INTERNAL: KeyError")]


def test_a_bug_that_passes_costs_no_record(log: SqliteLog) -> None:
    handled: list[bytes] = []
    bugs = iter(range(2 * (MOST_ATTEMPTS - 1)))

    def handle(records: Sequence[Record]) -> None:
        if next(bugs, None) is not None:
            raise ValueError
        handled.extend(record.value for record in records)

    append(log, b"1", b"2")
    with Running(log, handle):
        wait_for(lambda: committed(log) == 2)
    assert handled == [b"1", b"2"]
    assert letters(log) == []


def test_a_log_that_goes_away_and_comes_back_is_read_on(log: SqliteLog, tmp_path: Path) -> None:
    handled: list[bytes] = []
    with Running(log, lambda records: handled.extend(record.value for record in records)):
        append(log, b"1")
        wait_for(lambda: committed(log) == 1)
        (tmp_path / "events.db").rename(tmp_path / "away")
        time.sleep(0.1)
        (tmp_path / "away").rename(tmp_path / "events.db")
        append(log, b"2")
        wait_for(lambda: committed(log) == 2)
    assert handled == [b"1", b"2"]


def test_a_stop_ends_the_loop_while_the_handler_is_down_and_leaves_its_records(log: SqliteLog) -> None:
    called = threading.Event()

    def handle(records: Sequence[Record]) -> None:
        called.set()
        raise EngineUnavailable("database", "it is gone")

    append(log, b"1")
    with Running(log, handle, first_pause=timedelta(seconds=60)):
        assert called.wait(timeout=5)
    assert committed(log) == 0


def test_a_stopped_loop_gives_its_partitions_back_at_once(log: SqliteLog) -> None:
    append(log, b"1")
    with Running(log, lambda records: None):
        wait_for(lambda: committed(log) == 1)
    assert log.consumer([REGISTRY], group="g").assignment() == [(REGISTRY, 0)]


def test_the_lag_is_told(log: SqliteLog) -> None:
    lags: list[int] = []
    append(log, b"1", b"2", b"3")
    with Running(log, lambda records: None, max_records=1, on_lag=lags.append):
        wait_for(lambda: bool(lags))
    assert lags == [2]


def test_the_log_says_of_a_lag_and_of_a_wait_whose_topic_it_is(log: SqliteLog) -> None:
    append(log, b"1")
    outcomes = iter([EngineUnavailable("database", "it is away")])

    def handle(records: Sequence[Record]) -> None:
        for error in outcomes:
            raise error

    with capture_logs() as told, Running(log, handle):
        wait_for(lambda: any(line["event"] == "consumer_lag" for line in told))
    lines = {line["event"]: (line["group"], line["topic"]) for line in told if "topic" in line}
    assert lines["consumer_lag"] == lines["consumer_waits"] == ("g", REGISTRY)


def test_an_unknown_topic_is_told_at_the_start(log: SqliteLog) -> None:
    with pytest.raises(NotFound, match=r"no\.such"):
        run_consumer(log, [FEEDBACK, "no.such"], "g", lambda records: None, threading.Event())
