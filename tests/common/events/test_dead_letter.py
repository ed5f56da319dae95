from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest

from services.common.errors import InvalidField
from services.common.events import (
    DEAD_LETTER,
    FEEDBACK,
    REGISTRY,
    Event,
    Record,
    SqliteLog,
    dead_letters,
    replay,
    send_to_dead_letter,
)


def append_and_read(log: SqliteLog, topic: str, *values: bytes) -> list[Record]:
    with closing(log.consumer([topic], start="latest")) as consumer:
        log.append(topic, [Event(key="m", value=value, headers={"ce_id": value.decode()}) for value in values])
        return list(consumer.poll(timeout=timedelta(seconds=1)))


def bury(log: SqliteLog, topic: str, *values: bytes) -> None:
    for record in append_and_read(log, topic, *values):
        send_to_dead_letter(log, record, reason="INVALID_FIELD: no such class", group="labeling")


def test_a_dead_letter_keeps_the_record_and_says_where_it_lay_and_why(log: SqliteLog) -> None:
    bury(log, FEEDBACK, b"1", b"2")
    first, second = dead_letters(log)
    assert (first.record.key, first.record.value, first.record.headers["ce_id"]) == ("m", b"1", "1")
    assert (first.topic, first.offset, second.offset, first.group) == (FEEDBACK, 0, 1, "labeling")
    assert (first.reason, first.replays) == ("INVALID_FIELD: no such class", 0)
    assert first.record.topic == DEAD_LETTER


def test_a_reason_of_any_length_and_kind_fits(log: SqliteLog) -> None:
    [record] = append_and_read(log, REGISTRY, b"1")
    send_to_dead_letter(log, record, reason="\ud800" + "x" * 5000, group="g")
    assert [len(letter.reason) for letter in dead_letters(log)] == [1000]


def test_a_replay_puts_the_letters_of_one_topic_back_once_and_in_order(log: SqliteLog) -> None:
    bury(log, FEEDBACK, b"1", b"2")
    bury(log, REGISTRY, b"other")
    bury(log, FEEDBACK, b"3")
    with closing(log.consumer([FEEDBACK], start="latest")) as consumer:
        assert replay(log, topic=FEEDBACK) == 3
        assert replay(log, topic=FEEDBACK) == 0
        back = consumer.poll(timeout=timedelta(seconds=1))
    assert [record.value for record in back] == [b"1", b"2", b"3"]
    assert dict(back[0].headers) == {"ce_id": "1", "regrow_replays": "1"}
    assert replay(log, topic=REGISTRY) == 1


def test_a_replay_takes_as_many_as_asked_and_goes_on_from_there(log: SqliteLog) -> None:
    bury(log, FEEDBACK, b"1", b"2", b"3")
    assert [replay(log, topic=FEEDBACK, most=most) for most in (2, 2, 2)] == [2, 1, 0]
    assert sum(log.ends(FEEDBACK).values()) == 6


def test_a_letter_that_fails_again_counts_its_replays(log: SqliteLog) -> None:
    bury(log, FEEDBACK, b"1")
    with closing(log.consumer([FEEDBACK], start="latest")) as consumer:
        replay(log, topic=FEEDBACK)
        [again] = consumer.poll(timeout=timedelta(seconds=1))
    send_to_dead_letter(log, again, reason="still", group="g")
    assert [(letter.reason, letter.replays) for letter in dead_letters(log)][1:] == [("still", 1)]


def test_no_letters_are_no_work(log: SqliteLog) -> None:
    assert list(dead_letters(log)) == []
    assert replay(log, topic=FEEDBACK) == 0


def test_a_record_that_says_not_where_it_came_from_is_told(log: SqliteLog) -> None:
    log.append(DEAD_LETTER, [Event(key="m", value=b"")])
    with pytest.raises(InvalidField, match="where it came from"):
        list(dead_letters(log))
