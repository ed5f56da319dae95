"""Feedback of any length through one stream, taken up again where it broke: what wasn't answered is sent once more.

Every piece has an event id before it is sent, so what arrives twice counts once. Memory holds what is on its way: the
server reads no faster than it commits.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any

from regrow.errors import CallError
from regrow.gateway.v1 import gateway_pb2 as pb
from regrow.repeating import Patience

PIECES = 500
"""Pieces of feedback in one message."""
MOST_TOLD = 1_000
"""Refused pieces that the sum of all lists."""


class FeedbackStream:
    """One upload. `answered` hears the sums so far."""

    def __init__(
        self,
        call: Any,
        parent: str,
        feedback: Iterable[pb.Feedback],
        *,
        request_id: str,
        retry_for: float,
        answered: Callable[[pb.StreamFeedbackResponse], None],
    ) -> None:
        self._call, self._parent, self._retry_for, self._answered = call, parent, retry_for, answered
        self._request_id = request_id or str(uuid.uuid4())
        self._parts = _parts(feedback, self._request_id)
        self._unanswered: deque[list[pb.Feedback]] = deque()
        self._sum = pb.StreamFeedbackResponse()
        self._failure: BaseException | None = None
        self._done = False

    async def run(self) -> pb.StreamFeedbackResponse:
        """The sum of all. Raises `CallError` with what was committed in its facts, and whatever reading `feedback` raises."""
        patience, before = Patience(self._retry_for), 0
        while not self._done:
            try:
                await self._once()
            except CallError as failure:
                if self._failure is not None:
                    raise self._failure from None
                if self._sum.received_count != before:
                    patience, before = Patience(self._retry_for), self._sum.received_count
                wait = patience.wait(failure, time.monotonic())
                if wait is None:
                    committed = str(self._sum.committed_count)
                    failure.facts = {**failure.facts, "committed_count": committed, "request_id": self._request_id}
                    raise
                await asyncio.sleep(wait)
        return self._sum

    async def _once(self) -> None:
        base, dropped = pb.StreamFeedbackResponse(), 0
        base.CopyFrom(self._sum)
        async for answer in self._call(self._messages()):
            self._add(base, answer)
            while self._unanswered and dropped + len(self._unanswered[0]) <= answer.received_count:
                dropped += len(self._unanswered.popleft())
            self._answered(self._sum)
        if self._failure is not None:
            raise self._failure
        self._done = True

    def _add(self, base: pb.StreamFeedbackResponse, answer: pb.StreamFeedbackResponse) -> None:
        self._sum.received_count = base.received_count + answer.received_count
        self._sum.committed_count = base.committed_count + answer.committed_count
        self._sum.refused_count = base.refused_count + answer.refused_count
        for one in answer.refused[: max(0, MOST_TOLD - len(self._sum.refused))]:
            self._sum.refused.add().CopyFrom(one)
            self._sum.refused[-1].index = base.received_count + one.index

    async def _messages(self) -> AsyncIterator[pb.StreamFeedbackRequest]:
        """What was sent before and not answered, then the rest."""
        yield pb.StreamFeedbackRequest(parent=self._parent, request_id=self._request_id)
        for part in list(self._unanswered):
            yield pb.StreamFeedbackRequest(feedback=part)
        try:
            for part in self._parts:
                self._unanswered.append(part)
                yield pb.StreamFeedbackRequest(feedback=part)
        except Exception as failure:
            self._failure = failure


def _parts(feedback: Iterable[pb.Feedback], request_id: str) -> Iterator[list[pb.Feedback]]:
    """With ids as the gateway makes them of a request id."""
    left, numbers = iter(feedback), count()
    while part := list(islice(left, PIECES)):
        for one, number in zip(part, numbers):  # noqa: B905  (numbers have no end; what is left of them is the next part's)
            one.event_id = one.event_id or f"{request_id}-{number}"
        yield part
