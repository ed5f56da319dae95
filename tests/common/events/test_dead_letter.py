from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.errors import InvalidField
from services.common.events import (
    DEAD_LETTER,
    FEEDBACK,
    REGISTRY,
    Consumer,
    Event,
    EventLog,
    Record,
    SqliteLog,
    dead_letter,
    dead_letters,
    replay,
    run_consumer,
    send_to_dead_letter,
)
from services.common.events.dead_letter import read_dead_letter, replay_positions
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_log import KafkaLog


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.slow)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    if request.param == "sqlite":
        opened: EventLog = SqliteLog(tmp_path / "events.db")
    else:
        prefix = f"test-{secrets.token_hex(6)}."
        opened = KafkaLog(KafkaAccess(bootstrap=request.getfixturevalue("kafka"), prefix=prefix))
    opened.ensure_topics()
    yield opened
    opened.close()


def read(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < count and (polled := consumer.poll(timeout=timedelta(seconds=10))):
        records += polled
    return records


def append_and_read(log: EventLog, topic: str, *values: bytes) -> list[Record]:
    with closing(log.consumer([topic], start="latest")) as consumer:
        log.append(topic, [Event(key="m", value=value, headers={"ce_id": value.decode()}) for value in values])
        return read(consumer, len(values))


def bury(log: EventLog, topic: str, *values: bytes) -> None:
    for record in append_and_read(log, topic, *values):
        send_to_dead_letter(log, record, reason="INVALID_FIELD: no such class", group="labeling")


def test_a_dead_letter_keeps_the_record_and_says_where_it_lay_and_why(log: EventLog) -> None:
    bury(log, FEEDBACK, b"1", b"2")
    first, second = dead_letters(log)
    assert (first.record.key, first.record.value, first.record.headers["ce_id"]) == ("m", b"1", "1")
    assert (first.topic, first.offset, second.offset, first.group) == (FEEDBACK, 0, 1, "labeling")
    assert (first.reason, first.replays) == ("INVALID_FIELD: no such class", 0)
    assert first.record.topic == DEAD_LETTER


def test_a_reason_of_any_length_and_kind_fits(log: EventLog) -> None:
    [record] = append_and_read(log, REGISTRY, b"1")
    send_to_dead_letter(log, record, reason="\ud800" + "x" * 5000, group="g")
    assert [len(letter.reason) for letter in dead_letters(log)] == [1000]


def test_a_replay_puts_the_letters_of_one_topic_back_once_and_in_order(log: EventLog) -> None:
    bury(log, FEEDBACK, b"1", b"2")
    bury(log, REGISTRY, b"other")
    bury(log, FEEDBACK, b"3")
    with closing(log.consumer([FEEDBACK], start="latest")) as consumer:
        assert replay(log, topic=FEEDBACK) == 3
        assert replay(log, topic=FEEDBACK) == 0
        back = read(consumer, 3)
    assert [record.value for record in back] == [b"1", b"2", b"3"]
    assert dict(back[0].headers) == {"ce_id": "1", "regrow_replays": "1"}
    assert replay(log, topic=REGISTRY) == 1


def test_a_replay_takes_as_many_as_asked_and_goes_on_from_there(log: EventLog) -> None:
    bury(log, FEEDBACK, b"1", b"2", b"3")
    assert [replay(log, topic=FEEDBACK, most=most) for most in (2, 2, 2)] == [2, 1, 0]
    assert sum(log.ends(FEEDBACK).values()) == 6


def test_a_letter_that_fails_again_counts_its_replays(log: EventLog) -> None:
    bury(log, FEEDBACK, b"1")
    with closing(log.consumer([FEEDBACK], start="latest")) as consumer:
        replay(log, topic=FEEDBACK)
        [again] = read(consumer, 1)
    send_to_dead_letter(log, again, reason="still", group="g")
    assert [(letter.reason, letter.replays) for letter in dead_letters(log)][1:] == [("still", 1)]


def test_no_letters_are_no_work(log: EventLog) -> None:
    assert list(dead_letters(log)) == []
    assert replay(log, topic=FEEDBACK) == 0


def test_a_record_that_says_not_where_it_came_from_is_told_and_stands_in_nobodys_way(log: EventLog) -> None:
    with closing(log.consumer([DEAD_LETTER])) as consumer:
        log.append(DEAD_LETTER, [Event(key="m", value=b"of somebody else")])
        with pytest.raises(InvalidField, match="where it came from"):
            read_dead_letter(read(consumer, 1)[0])
    bury(log, FEEDBACK, b"1")
    assert [letter.record.value for letter in dead_letters(log)] == [b"1"]
    assert replay(log, topic=FEEDBACK) == 1


def test_the_letters_after_a_place_and_how_far_a_topic_was_put_back(log: EventLog) -> None:
    bury(log, FEEDBACK, b"1", b"2")
    place = (DEAD_LETTER, 0)
    assert [letter.record.value for letter in dead_letters(log, after={place: 1})] == [b"2"]
    assert replay_positions(log, FEEDBACK) == {place: 0}
    replay(log, topic=FEEDBACK, most=1)
    assert replay_positions(log, FEEDBACK) == {place: 1}
    assert replay_positions(log, REGISTRY) == {place: 0}


def test_what_was_put_back_stays_so_when_the_log_forgets_the_replays_group(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(log, FEEDBACK, b"1", b"2", b"3")
    assert replay(log, topic=FEEDBACK, most=2) == 2
    monkeypatch.setattr(dead_letter, "_replay_group", lambda topic: f"another.{topic}")
    assert replay_positions(log, FEEDBACK) == {(DEAD_LETTER, 0): 2}
    assert [replay(log, topic=FEEDBACK) for _ in range(2)] == [1, 0]
    assert [letter.record.value for letter in dead_letters(log)] == [b"1", b"2", b"3"]


def test_poison_is_set_aside_by_its_consumer_and_handled_after_a_replay(log: EventLog) -> None:
    cured, stop, handled = threading.Event(), threading.Event(), list[bytes]()

    def handle(records: Sequence[Record]) -> None:
        for record in records:
            if record.value == b"poison" and not cured.is_set():
                raise InvalidField("value", "isn't a message that this version reads.")
        handled.extend(record.value for record in records)

    consumer = threading.Thread(target=run_consumer, args=(log, [FEEDBACK], "labeling", handle, stop))
    consumer.start()
    try:
        log.append(FEEDBACK, [Event(key="m", value=value) for value in (b"1", b"poison", b"2")])
        assert waits_for(lambda: len(handled) == 2)
        assert [(letter.record.value, letter.group) for letter in dead_letters(log)] == [(b"poison", "labeling")]
        assert "this version reads" in next(dead_letters(log)).reason
        cured.set()
        assert replay(log, topic=FEEDBACK) == 1
        assert waits_for(lambda: handled == [b"1", b"2", b"poison"])
    finally:
        stop.set()
        consumer.join()


def waits_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
