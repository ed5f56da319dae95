"""Records that no handler can take: kept on a topic of their own with the reason, and put back when the cause is cured.

A dead letter is the record as it was (key, value, headers) with `regrow_*` headers that say where it lay and why it went.
A replay leaves a note on the same topic that says how far it came: Kafka forgets where a consumer group stands a week after
its last member left, and a replay's group has members for moments.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import structlog

from services.common.errors import InvalidField
from services.common.events.port import DEAD_LETTER, Consumer, Event, EventLog, Offsets, Record

MOST_REASON_LETTERS = 1000

_PREFIX = "regrow_"
_REPLAYS = "regrow_replays"
_REPLAYED, _UNTIL = "regrow_replayed", "regrow_until"
_PATIENCE = timedelta(seconds=2)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record on the dead-letter topic, and where it came from. `replays` counts how often it was put back before."""

    record: Record
    topic: str
    partition: int
    offset: int
    group: str
    reason: str
    replays: int


def send_to_dead_letter(log: EventLog, record: Record, *, reason: str, group: str) -> None:
    """Sets a record aside, as `group` can't handle it. Once this returns it is committed, so the group may go on."""
    origin = {"topic": record.topic, "partition": str(record.partition), "offset": str(record.offset), "group": group}
    text = reason.encode("utf-8", "replace").decode()[:MOST_REASON_LETTERS]
    headers = {**record.headers, **{_PREFIX + name: value for name, value in origin.items()}, "regrow_reason": text}
    log.append(DEAD_LETTER, [Event(key=record.key, value=record.value, headers=headers)])


def read_dead_letter(record: Record) -> DeadLetter:
    """Raises `InvalidField` for a record that `send_to_dead_letter` didn't write."""
    headers = record.headers
    try:
        return DeadLetter(
            record=record,
            topic=headers["regrow_topic"],
            partition=int(headers["regrow_partition"]),
            offset=int(headers["regrow_offset"]),
            group=headers["regrow_group"],
            reason=headers["regrow_reason"],
            replays=int(headers.get(_REPLAYS, "0")),
        )
    except (KeyError, ValueError):
        raise InvalidField("headers", f"record {record.offset} of '{record.topic}' says not where it came from.") from None


def own_headers(record: Record) -> dict[str, str]:
    """The headers that a dead letter came with."""
    return {name: value for name, value in record.headers.items() if not name.startswith(_PREFIX)}


def dead_letters(log: EventLog, *, after: Offsets | None = None) -> Generator[DeadLetter, None, None]:
    """All dead letters that lie there at the time of the call, oldest first; `after` goes on where an iteration stopped."""
    yield from _letters(_records(log, after or {}))


def replay_positions(log: EventLog, topic: str) -> Offsets:
    """How far the dead letters of a topic were put back: those before these offsets were."""
    committed = log.committed(_replay_group(topic), DEAD_LETTER)
    if all(committed.values()):
        return committed
    noted = [_read_note(record) for record in _records(log, {}) if record.headers.get(_REPLAYED) == topic]
    return {place: max([offset, *(note.get(place, 0) for note in noted)]) for place, offset in committed.items()}


def replay(log: EventLog, *, topic: str, most: int | None = None) -> int:
    """Puts the dead letters of a topic back on it, oldest first, at most `most`; answers how many.

    Each goes back once: the next call goes on after it. What fails again is a new dead letter, for that next call. Every
    group of the topic reads the record once more; handlers know an event by its CloudEvents id.
    """
    done = 0
    ends, before = log.ends(DEAD_LETTER), replay_positions(log, topic)
    with closing(log.consumer([DEAD_LETTER], group=_replay_group(topic))) as consumer:
        consumer.seek({place: before[place] for place, offset in consumer.positions().items() if offset < before[place]})
        while records := _next(consumer, ends, most=500 if most is None else min(500, most - done)):
            letters = [letter for letter in _letters(records) if letter.topic == topic]
            reached = {(record.topic, record.partition): record.offset + 1 for record in records}
            if letters:
                log.append(topic, [_revived(letter) for letter in letters])
                log.append(DEAD_LETTER, [_note(topic, reached)])
            consumer.commit(reached)
            done += len(letters)
    return done


def _replay_group(topic: str) -> str:
    return f"regrow.replay.{topic}"


def _note(topic: str, reached: Offsets) -> Event:
    until = json.dumps({str(partition): offset for (_, partition), offset in reached.items()})
    return Event(key=topic, value=b"", headers={_REPLAYED: topic, _UNTIL: until})


def _read_note(record: Record) -> Offsets:
    until: dict[str, int] = json.loads(record.headers[_UNTIL])
    return {(DEAD_LETTER, int(partition)): offset for partition, offset in until.items()}


def _records(log: EventLog, after: Offsets) -> Iterator[Record]:
    ends = log.ends(DEAD_LETTER)
    with closing(log.consumer([DEAD_LETTER])) as consumer:
        consumer.seek(after)
        while records := _next(consumer, ends, most=500):
            yield from records


def _letters(records: Iterable[Record]) -> Iterator[DeadLetter]:
    """Passes over what somebody else wrote to the topic: it must not stand in the way of the others for ever."""
    for record in records:
        if _REPLAYED in record.headers:
            continue
        try:
            yield read_dead_letter(record)
        except InvalidField as error:
            _log.warning("no_dead_letter", problem=error.message)


def _next(consumer: Consumer, ends: Offsets, *, most: int) -> Sequence[Record]:
    """The next records before `ends`; nothing where all are read, or another replay of the topic is at it."""
    at = consumer.positions()
    if most <= 0 or all(at.get(partition, 0) >= end for partition, end in ends.items()):
        return []
    records = consumer.poll(timeout=_PATIENCE, max_records=most)
    return [record for record in records if record.offset < ends[record.topic, record.partition]]


def _revived(letter: DeadLetter) -> Event:
    return Event(
        key=letter.record.key,
        value=letter.record.value,
        headers={**own_headers(letter.record), _REPLAYS: str(letter.replays + 1)},
    )
