"""What every event log promises."""

from __future__ import annotations

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.common.errors import FailedPrecondition, InvalidField, NotFound, TooLarge
from services.common.events import (
    FEEDBACK,
    MOST_EVENT_BYTES,
    PREDICTIONS,
    REGISTRY,
    TOPICS,
    Consumer,
    Event,
    EventLog,
    Record,
    Topic,
)

NOW = timedelta(0)
SOON = timedelta(seconds=3)


def numbered(count: int, *, key: str = "m", first: int = 0) -> list[Event]:
    return [Event(key=key, value=b"%d" % number) for number in range(first, first + count)]


def read(consumer: Consumer, count: int, *, seconds: float = 5) -> list[Record]:
    """Polls until `count` records came, or the time is over."""
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    while len(records) < count and time.monotonic() < deadline:
        records += consumer.poll(timeout=timedelta(milliseconds=100))
    return records


def values(records: Iterable[Record]) -> list[bytes]:
    return [record.value for record in records]


def settle(*consumers: Consumer, partitions: int = 3) -> None:
    """Polls all members until the partitions are spread over them."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for consumer in consumers:
            assert not consumer.poll(timeout=NOW)
        owned = [name for consumer in consumers for name in consumer.assignment()]
        if len(owned) == len(set(owned)) == partitions and all(consumer.assignment() for consumer in consumers):
            return
    raise AssertionError([consumer.assignment() for consumer in consumers])


def test_what_was_appended_comes_back_as_it_was(log: EventLog) -> None:
    event = Event(key="модель 😀", value=bytes(range(256)), headers={"ce_id": "1", "note": 'ü "quoted"\n'})
    [(partition, offset)] = log.append(PREDICTIONS, [event])
    [record] = read(log.consumer([PREDICTIONS]), 1)
    assert (record.key, record.value, dict(record.headers)) == (event.key, event.value, dict(event.headers))
    assert (record.topic, record.partition, record.offset) == (PREDICTIONS, partition, offset)
    assert abs(record.time - datetime.now(UTC)) < timedelta(minutes=1)


def test_empty_and_large_values_are_kept(log: EventLog) -> None:
    large = b"x" * (3 << 20)
    log.append(REGISTRY, [Event(key="", value=b""), Event(key="k", value=large)])
    assert values(read(log.consumer([REGISTRY]), 2)) == [b"", large]


def test_offsets_are_dense_in_each_partition(log: EventLog) -> None:
    given = [place for batch in range(10) for place in log.append(PREDICTIONS, numbered(7, key=f"k{batch}"))]
    per_partition = defaultdict(list)
    for partition, offset in given:
        per_partition[partition].append(offset)
    assert all(offsets == list(range(len(offsets))) for offsets in per_partition.values())
    assert log.ends(PREDICTIONS) == {(PREDICTIONS, partition): len(per_partition[partition]) for partition in range(3)}


def test_records_of_one_key_share_a_partition_and_keep_their_order(log: EventLog) -> None:
    keys = [f"model-{number}" for number in range(12)]
    for number in range(20):
        log.append(PREDICTIONS, [Event(key=key, value=b"%d" % number) for key in keys])
    seen = defaultdict(list)
    for record in read(log.consumer([PREDICTIONS]), 240):
        seen[record.key, record.partition].append(int(record.value))
    assert sorted(key for key, _ in seen) == sorted(keys)
    assert all(numbers == list(range(20)) for numbers in seen.values())
    assert len({partition for _, partition in seen}) > 1


def test_an_append_of_nothing_is_nothing(log: EventLog) -> None:
    assert list(log.append(PREDICTIONS, [])) == []
    assert set(log.ends(PREDICTIONS).values()) == {0}


def test_an_unknown_topic_is_told(log: EventLog) -> None:
    calls = [
        lambda: log.append("no.such", numbered(1)),
        lambda: log.consumer(["no.such"]),
        lambda: log.ends("no.such"),
        lambda: log.consumer([PREDICTIONS, "no.such"], group="g"),
        lambda: log.committed("g", "no.such"),
    ]
    for call in calls:
        with pytest.raises(NotFound, match=r"no\.such"):
            call()


def test_an_event_over_the_limit_is_refused_and_its_batch_with_it(log: EventLog) -> None:
    with pytest.raises(TooLarge, match="16 MiB"):
        log.append(PREDICTIONS, [Event(key="k", value=b"fits"), Event(key="k", value=b"x" * MOST_EVENT_BYTES)])
    assert set(log.ends(PREDICTIONS).values()) == {0}


def test_text_that_is_no_text_is_refused(log: EventLog) -> None:
    for event in (Event(key="\ud800", value=b""), Event(key="k", value=b"", headers={"a": "\ud800"})):
        with pytest.raises(InvalidField, match=r"events\[0\]"):
            log.append(PREDICTIONS, [event])


def test_ensuring_topics_again_keeps_their_records_and_partitions(log: EventLog) -> None:
    log.append(REGISTRY, numbered(3))
    log.ensure_topics()
    log.ensure_topics([Topic(name=REGISTRY, partitions=5)])
    assert log.ends(REGISTRY) == {(REGISTRY, 0): 3}
    assert {topic.name for topic in TOPICS if log.ends(topic.name)} == {topic.name for topic in TOPICS}


def test_a_consumer_without_a_group_reads_everything_every_time(log: EventLog) -> None:
    log.append(PREDICTIONS, numbered(5, key="a") + numbered(5, key="b"))
    for _ in range(2):
        consumer = log.consumer([PREDICTIONS])
        assert len(read(consumer, 10)) == 10
        consumer.commit()
        consumer.close()


def test_latest_starts_after_what_is_there(log: EventLog) -> None:
    log.append(REGISTRY, numbered(5))
    for group in (None, "g"):
        consumer = log.consumer([REGISTRY], group=group, start="latest")
        assert not consumer.poll(timeout=NOW)
        log.append(REGISTRY, [Event(key="m", value=b"new")])
        assert values(read(consumer, 1)) == [b"new"]
        consumer.close()


def test_latest_holds_only_for_what_was_never_committed(log: EventLog) -> None:
    first = log.consumer([REGISTRY], group="g", start="latest")
    assert not first.poll(timeout=NOW)
    first.commit()
    first.close()
    log.append(REGISTRY, numbered(2))
    assert values(read(log.consumer([REGISTRY], group="g", start="latest"), 2)) == [b"0", b"1"]


def test_a_poll_takes_at_most_what_was_asked_and_goes_on_from_there(log: EventLog) -> None:
    log.append(REGISTRY, numbered(10))
    consumer = log.consumer([REGISTRY])
    sizes = [len(consumer.poll(timeout=SOON, max_records=4)) for _ in range(3)]
    assert sizes == [4, 4, 2]
    assert not consumer.poll(timeout=NOW)


def test_no_partition_starves_beside_a_full_one(log_engine: Any, log: EventLog) -> None:
    busy = {partition for partition, _ in log.append(PREDICTIONS, numbered(300, key="busy"))}
    number = 0
    while {log.append(PREDICTIONS, [Event(key=f"k{number}", value=b"rare")])[0][0]} == busy:
        number += 1
    consumer = log.consumer([PREDICTIONS])
    assert any(b"rare" in values(consumer.poll(timeout=SOON, max_records=10)) for _ in range(log_engine.polls))


def test_a_waiting_poll_wakes_at_an_append_of_this_process(log: EventLog) -> None:
    consumer = log.consumer([REGISTRY])
    threading.Timer(0.15, lambda: log.append(REGISTRY, numbered(1))).start()
    began = time.monotonic()
    assert consumer.poll(timeout=timedelta(seconds=5))
    assert time.monotonic() - began < 1


APPENDER = """
events = [Event(key="m", value=b"from a child")]
for line in sys.stdin:
    print(engine.append("regrow.registry", events), flush=True)
"""


def test_a_waiting_poll_wakes_at_an_append_of_another_process(log_engine: Any, log: EventLog) -> None:
    child = log_engine.child(APPENDER)
    print("once", file=child.stdin, flush=True)
    assert child.stdout.readline()
    consumer = log.consumer([REGISTRY], start="latest")
    assert not consumer.poll(timeout=NOW)
    threading.Timer(0.15, lambda: print("again", file=child.stdin, flush=True)).start()
    began = time.monotonic()
    assert values(consumer.poll(timeout=timedelta(seconds=5))) == [b"from a child"]
    assert time.monotonic() - began < 1


def test_an_empty_poll_waits_as_long_as_asked(log: EventLog) -> None:
    consumer = log.consumer([REGISTRY])
    consumer.poll(timeout=NOW)
    began = time.monotonic()
    assert not consumer.poll(timeout=timedelta(seconds=0.2))
    assert 0.2 <= time.monotonic() - began < 1


def test_a_group_resumes_at_its_commit_after_a_restart(log_engine: Any, log: EventLog) -> None:
    log.append(REGISTRY, numbered(10))
    consumer = log.consumer([REGISTRY], group="g")
    assert len(consumer.poll(timeout=SOON, max_records=4)) == 4
    consumer.commit()
    assert len(consumer.poll(timeout=SOON, max_records=3)) == 3  # polled and not committed: comes again
    consumer.close()
    log.close()
    again = log_engine.open()
    assert again.committed("g", REGISTRY) == {(REGISTRY, 0): 4}
    resumed = again.consumer([REGISTRY], group="g")
    assert values(read(resumed, 6)) == [b"%d" % number for number in range(4, 10)]
    resumed.close()
    again.close()


def test_a_commit_of_given_offsets_stores_those(log: EventLog) -> None:
    log.append(REGISTRY, numbered(10))
    consumer = log.consumer([REGISTRY], group="g")
    read(consumer, 10)
    consumer.commit({(REGISTRY, 0): 7})
    assert log.committed("g", REGISTRY) == {(REGISTRY, 0): 7}
    assert consumer.lag() == 3
    consumer.commit()
    assert log.committed("g", REGISTRY) == {(REGISTRY, 0): 10}
    assert consumer.lag() == 0


def test_groups_do_not_see_each_other(log: EventLog) -> None:
    log.append(REGISTRY, numbered(3))
    one, two = (log.consumer([REGISTRY], group=group) for group in ("one", "two"))
    assert len(read(one, 3)) == len(read(two, 3)) == 3
    one.commit()
    assert log.committed("one", REGISTRY) == {(REGISTRY, 0): 3}
    assert log.committed("two", REGISTRY) == log.committed("never seen", REGISTRY) == {(REGISTRY, 0): 0}


def test_a_sought_place_is_read_next(log: EventLog) -> None:
    log.append(REGISTRY, numbered(10))
    consumer = log.consumer([REGISTRY], group="g")
    read(consumer, 10)
    consumer.seek({(REGISTRY, 0): 6})
    assert consumer.positions() == {(REGISTRY, 0): 6}
    assert values(read(consumer, 4)) == [b"6", b"7", b"8", b"9"]


def test_a_place_that_is_not_read_here_can_be_neither_sought_nor_committed(log: EventLog) -> None:
    consumer = log.consumer([REGISTRY], group="g")
    consumer.poll(timeout=NOW)
    for wrong in ({(PREDICTIONS, 0): 0}, {(REGISTRY, 1): 0}, {(REGISTRY, 0): -1}):
        with pytest.raises(InvalidField, match="offsets"):
            consumer.seek(wrong)
    for wrong in ({(PREDICTIONS, 0): 0}, {(REGISTRY, 0): -1}, {(REGISTRY, 0): 99}):
        with pytest.raises(InvalidField, match="offsets"):
            consumer.commit(wrong)


def test_a_consumer_reads_several_topics(log: EventLog) -> None:
    log.append(PREDICTIONS, numbered(2))
    log.append(FEEDBACK, numbered(3))
    consumer = log.consumer([PREDICTIONS, FEEDBACK], group="g")
    assert len(read(consumer, 5)) == 5
    assert len(consumer.assignment()) == 6


def test_a_closed_consumer_is_not_polled_and_closing_twice_is_fine(log: EventLog) -> None:
    consumer = log.consumer([REGISTRY], group="g")
    consumer.close()
    consumer.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        consumer.poll(timeout=NOW)


def test_partitions_spread_over_the_members_and_come_back_when_one_leaves(log: EventLog) -> None:
    one, two = (log.consumer([PREDICTIONS], group="g") for _ in range(2))
    settle(one, two)
    assert sorted(len(member.assignment()) for member in (one, two)) == [1, 2]
    two.close()
    settle(one)
    assert len(one.assignment()) == 3


def test_a_member_too_many_waits_for_its_turn(log: EventLog) -> None:
    one, two = (log.consumer([REGISTRY], group="g") for _ in range(2))
    one.poll(timeout=NOW)
    two.poll(timeout=NOW)
    assert (len(one.assignment()), len(two.assignment())) == (1, 0)
    one.close()
    settle(two, partitions=1)


def test_members_that_commit_as_they_go_read_every_record_once(log: EventLog) -> None:
    """A member comes and one leaves in the middle, and no record is read twice or left out."""
    for number in range(60):
        log.append(PREDICTIONS, numbered(5, key=f"k{number}", first=number * 5))
    seen: list[bytes] = []
    one = log.consumer([PREDICTIONS], group="g")

    def step(*members: Consumer) -> None:
        for member in members:
            seen.extend(values(member.poll(timeout=NOW, max_records=10)))
            member.commit()

    for _ in range(3):
        step(one)
    two = log.consumer([PREDICTIONS], group="g")
    for _ in range(8):
        step(one, two)
    one.close()
    deadline = time.monotonic() + 5
    while len(seen) < 300 and time.monotonic() < deadline:
        step(two)
    assert sorted(map(int, seen)) == list(range(300))


def test_a_partition_changes_hands_only_when_its_owner_is_done_with_what_it_polled(log: EventLog) -> None:
    log.append(PREDICTIONS, [event for number in range(20) for event in numbered(1, key=f"k{number}", first=number)])
    one = log.consumer([PREDICTIONS], group="g")
    assert len(read(one, 20)) == 20
    two = log.consumer([PREDICTIONS], group="g")
    assert not two.poll(timeout=timedelta(seconds=0.1))  # else both would work on the same records at once
    one.commit()
    settle(one, two)
    assert log.committed("g", PREDICTIONS) == log.ends(PREDICTIONS)


MEMBER = """
from datetime import timedelta
member = engine.consumer(["regrow.predictions"], group="g")
for line in sys.stdin:
    if line == "read 20\\n":
        read = 0
        while read < 20:
            read += len(member.poll(timeout=timedelta(seconds=1)))
        print("answer:", read, len(member.assignment()), flush=True)
    elif line == "poll\\n":
        print("answer:", len(member.poll(timeout=timedelta(seconds=0.1))), len(member.assignment()), flush=True)
    elif line == "commit\\n":
        member.commit()
        print("answer: committed", flush=True)
"""


def tell(child: Any, order: str) -> str:
    """The child's answer to an order; its log lines are passed over."""
    print(order, file=child.stdin, flush=True)
    return next(line.removeprefix("answer:").strip() for line in child.stdout if line.startswith("answer:"))


def test_a_killed_member_loses_its_partitions_after_its_lease(log_engine: Any, log: EventLog) -> None:
    log.append(PREDICTIONS, [event for number in range(20) for event in numbered(1, key=f"k{number}", first=number)])
    child = log_engine.child(MEMBER)
    assert tell(child, "read 20") == "20 3"  # and never committed
    child.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    successor = log.consumer([PREDICTIONS], group="g")
    records = read(successor, 20)
    assert sorted(map(int, values(records))) == list(range(20))
    assert time.monotonic() - killed < 3 * log_engine.lease.total_seconds()
    assert len(successor.assignment()) == 3


@pytest.mark.slow  # the fast one of its kind: a member of the embedded log that hangs, tests/common/events/test_sqlite_log.py
def test_a_member_that_was_away_too_long_cannot_commit_what_others_own_by_now(log_engine: Any, log: EventLog) -> None:
    log.append(PREDICTIONS, [event for number in range(20) for event in numbered(1, key=f"k{number}", first=number)])
    child = log_engine.child(MEMBER)
    assert tell(child, "read 20") == "20 3"
    child.send_signal(signal.SIGSTOP)
    successor = log.consumer([PREDICTIONS], group="g")
    assert len(read(successor, 20)) == 20
    child.send_signal(signal.SIGCONT)
    assert tell(child, "commit") == "committed"
    assert set(log.committed("g", PREDICTIONS).values()) == {0}
    successor.commit()
    assert log.committed("g", PREDICTIONS) == log.ends(PREDICTIONS)
    owned = {tell(child, "poll").split()[1] for _ in range(20) if not successor.poll(timeout=timedelta(seconds=0.1))}
    assert "1" in owned  # it is a member again, with its share


@pytest.mark.slow
def test_a_member_at_work_for_longer_than_its_lease_keeps_its_partitions(log_engine: Any, log: EventLog) -> None:
    log.append(REGISTRY, numbered(2))
    slow, rival = (log.consumer([REGISTRY], group="g") for _ in range(2))
    assert len(slow.poll(timeout=SOON)) == 2
    working_until = time.monotonic() + 1.5 * log_engine.lease.total_seconds()
    while time.monotonic() < working_until:
        assert not rival.poll(timeout=timedelta(seconds=0.1))
    slow.commit()
    assert log.committed("g", REGISTRY) == {(REGISTRY, 0): 2}


def test_threads_that_append_at_once_lose_nothing_and_share_no_offset(log: EventLog) -> None:
    places: list[tuple[int, int]] = []

    def write(name: int) -> None:
        for number in range(25):
            places.extend(log.append(PREDICTIONS, numbered(2, key=f"t{name}", first=2 * number)))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(places)) == 400
    seen = defaultdict(list)
    for record in read(log.consumer([PREDICTIONS]), 400):
        seen[record.key].append(int(record.value))
    assert all(seen[f"t{name}"] == list(range(50)) for name in range(8))


STEADY = """
import itertools
name = sys.argv[1]
for batch in itertools.count():
    events = [Event(key=f"{name}-{number}", value=f"{name}:{batch}:{number}".encode()) for number in range(5)]
    print("try", batch, flush=True)
    engine.append("regrow.predictions", events)
    print("ack", batch, flush=True)
"""


def outcome(lines: Sequence[str]) -> tuple[set[int], set[int]]:
    whole = [line.split() for line in lines if line.endswith("\n")]
    return {int(n) for word, n in whole if word == "try"}, {int(n) for word, n in whole if word == "ack"}


@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_no_acknowledged_event_is_lost_when_writers_are_killed(log_engine: Any, log: EventLog, rounds: int) -> None:
    """Rounds of two processes that append, killed at any moment; no event is there twice, acknowledged batches are whole."""
    tried, acknowledged = set(), set()
    for round_ in range(rounds):
        writers = {f"w{round_}{number}": log_engine.child(STEADY, f"w{round_}{number}") for number in range(2)}
        lines = {name: [child.stdout.readline() for _ in range(40 + 7 * round_)] for name, child in writers.items()}
        for child in writers.values():
            child.send_signal(signal.SIGKILL)
        for name, child in writers.items():
            begun, done = outcome(lines[name] + child.stdout.readlines())
            tried |= {(name, batch) for batch in begun}
            acknowledged |= {(name, batch) for batch in done}
    found = defaultdict(set)
    for record in read_all(log, PREDICTIONS):
        name, batch, number = record.value.decode().split(":")
        assert int(number) not in found[name, int(batch)]
        found[name, int(batch)].add(int(number))
    assert acknowledged <= found.keys() <= tried
    whole = {batch for batch, numbers in found.items() if numbers == set(range(5))}
    assert acknowledged <= whole
    assert not log_engine.atomic or whole == found.keys()
    assert len(acknowledged) >= 30 * rounds
    log.check()


def read_all(log: EventLog, topic: str) -> list[Record]:
    return read(log.consumer([topic]), sum(log.ends(topic).values()))


@pytest.mark.slow
def test_processes_that_append_beside_a_reader_are_read_in_order(log_engine: Any, log: EventLog) -> None:
    writers = [log_engine.child(STEADY, f"w{number}") for number in range(2)]
    consumer = log.consumer([PREDICTIONS], group="g")
    records = read(consumer, 400)
    for child in writers:
        child.kill()
    assert len(records) >= 400
    seen = defaultdict(list)
    for record in records:
        seen[record.key].append(int(record.value.split(b":")[1]))
    assert all(batches == list(range(len(batches))) for batches in seen.values())


def test_a_usable_log_passes_its_check(log: EventLog) -> None:
    log.check()
