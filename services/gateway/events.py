"""`EventService`: what consumers set aside, and its way back. The log is read and written in threads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from functools import cache

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import InvalidField, NotFound
from services.common.events.dead_letter import DeadLetter, dead_letters, own_headers, replay, replay_positions
from services.common.events.port import DEAD_LETTER, TOPICS, EventLog, Offsets
from services.common.names import parse
from services.common.paging import Key, encode_token, page
from services.gateway.payloads import MOST_SHOWN, identity, readable

_NAME = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")
_REPLAYABLE = sorted(topic.name for topic in TOPICS if topic.name != DEAD_LETTER)


_Found = tuple[DeadLetter, bool]
"""A dead letter, and whether it was put back."""


class EventApi:
    """Takes calls of the event loop."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def list_dead_letters(self, request: gateway_pb2.ListDeadLettersRequest) -> gateway_pb2.ListDeadLettersResponse:
        """A page, oldest first."""
        if request.topic:
            _check(request.topic)
        return await asyncio.to_thread(self._page, request)

    async def get_dead_letter(self, request: gateway_pb2.GetDeadLetterRequest) -> gateway_pb2.DeadLetter:
        """One with its payload."""
        return await asyncio.to_thread(self._one, request.name)

    async def replay_dead_letters(self, request: gateway_pb2.ReplayDeadLettersRequest) -> gateway_pb2.ReplayDeadLettersResponse:
        """How many went back."""
        _check(request.topic)
        done = await asyncio.to_thread(replay, self._log, topic=request.topic, most=request.max_count or None)
        return gateway_pb2.ReplayDeadLettersResponse(replayed_count=done)

    def _one(self, name: str) -> gateway_pb2.DeadLetter:
        place = _place(name)
        after = {**self._log.ends(DEAD_LETTER)}
        if place is not None and place[:2] in after:
            after[place[:2]] = place[2]
            with closing(dead_letters(self._log, after=after)) as letters:
                letter = next(letters, None)
            if letter is not None and letter.record.offset == place[2]:
                replayed = place[2] < replay_positions(self._log, letter.topic)[place[:2]]
                return _whole(letter, replayed)
        raise NotFound("dead letter", name, "They are kept for 90 days; ListDeadLetters names those that are there.")

    def _page(self, request: gateway_pb2.ListDeadLettersRequest) -> gateway_pb2.ListDeadLettersResponse:
        query = f"{request.topic} {request.show_replayed}"
        wanted = page(request.page_size, request.page_token, query=query)
        at = _offsets(wanted.after or {})
        response = gateway_pb2.ListDeadLettersResponse()
        with closing(self._wanted(request, at)) as letters:
            for letter, replayed in letters:
                if len(response.dead_letters) == wanted.limit:
                    response.next_page_token = encode_token(_token(at), query=query)
                    break
                response.dead_letters.append(_proto(letter, replayed))
                at[DEAD_LETTER, letter.record.partition] = letter.record.offset + 1
        return response

    def _wanted(self, request: gateway_pb2.ListDeadLettersRequest, after: Offsets) -> Generator[_Found, None, None]:
        positions = cache(lambda topic: replay_positions(self._log, topic))
        for letter in dead_letters(self._log, after=dict(after)):
            if request.topic and letter.topic != request.topic:
                continue
            replayed = letter.record.offset < positions(letter.topic)[DEAD_LETTER, letter.record.partition]
            if request.show_replayed or not replayed:
                yield letter, replayed


def _check(topic: str) -> None:
    if topic not in _REPLAYABLE:
        raise InvalidField("topic", f"must be one of {', '.join(_REPLAYABLE)}, not '{topic[:80]}'.")


def _place(name: str) -> tuple[str, int, int] | None:
    """Topic, partition and offset of the dead letter itself. Raises `InvalidField`."""
    found = _NAME.fullmatch(parse("deadLetters/{dead_letter}", name)["dead_letter"])
    return None if found is None else (DEAD_LETTER, int(found[1]), int(found[2]))


def _offsets(token: Mapping[str, Key]) -> dict[tuple[str, int], int]:
    return {(DEAD_LETTER, int(partition)): int(offset or 0) for partition, offset in token.items()}


def _token(at: Offsets) -> dict[str, Key]:
    return {str(partition): offset for (_, partition), offset in at.items()}


def _whole(letter: DeadLetter, replayed: bool) -> gateway_pb2.DeadLetter:
    message, record = _proto(letter, replayed), letter.record
    message.headers.update(own_headers(record))
    message.payload, message.payload_text = record.value[:MOST_SHOWN], readable(record)
    return message


def _proto(letter: DeadLetter, replayed: bool) -> gateway_pb2.DeadLetter:
    record = letter.record
    event_id, event_type = identity(record)
    message = gateway_pb2.DeadLetter(
        topic=letter.topic, partition=letter.partition, offset=letter.offset, consumer_group=letter.group,
        reason=letter.reason, key=record.key, event_id=event_id, event_type=event_type,
        name=f"deadLetters/{record.partition}-{record.offset}", size_bytes=len(record.value), replay_count=letter.replays,
        replayed=replayed,
    )  # fmt: skip
    message.create_time.FromDatetime(record.time)
    return message
