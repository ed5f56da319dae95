"""`EventService`: what consumers set aside, and its way back. The log is read and written in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import closing
from functools import cache

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import InvalidField
from services.common.events.dead_letter import DeadLetter, dead_letters, replay, replay_positions
from services.common.events.port import DEAD_LETTER, TOPICS, EventLog, Offsets
from services.common.paging import Key, encode_token, page

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

    async def replay_dead_letters(self, request: gateway_pb2.ReplayDeadLettersRequest) -> gateway_pb2.ReplayDeadLettersResponse:
        """How many went back."""
        _check(request.topic)
        done = await asyncio.to_thread(replay, self._log, topic=request.topic, most=request.max_count or None)
        return gateway_pb2.ReplayDeadLettersResponse(replayed_count=done)

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


def _offsets(token: Mapping[str, Key]) -> dict[tuple[str, int], int]:
    return {(DEAD_LETTER, int(partition)): int(offset or 0) for partition, offset in token.items()}


def _token(at: Offsets) -> dict[str, Key]:
    return {str(partition): offset for (_, partition), offset in at.items()}


def _proto(letter: DeadLetter, replayed: bool) -> gateway_pb2.DeadLetter:
    record = letter.record
    message = gateway_pb2.DeadLetter(
        topic=letter.topic, partition=letter.partition, offset=letter.offset, consumer_group=letter.group,
        reason=letter.reason, key=record.key, event_id=record.headers.get("ce_id", ""),
        event_type=record.headers.get("ce_type", ""), size_bytes=len(record.value), replay_count=letter.replays,
        replayed=replayed,
    )  # fmt: skip
    message.create_time.FromDatetime(record.time)
    return message
