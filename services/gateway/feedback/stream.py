"""Feedback that comes as a stream: each part is checked and handed to the log at once, and answered when it is committed.

Reading goes on while earlier parts are being written, so a commit's time isn't waited for between two parts. A stream that
is faster than the log waits for room; what is read is either committed, or refused and told, or (where the stream breaks)
counted by no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import EngineUnavailable, FieldProblem, InvalidField, RegrowError
from services.common.names import parse
from services.gateway.feedback.checking import is_plain, problems
from services.gateway.feedback.door import MODEL, refuse, request_id_of, settled
from services.gateway.feedback.files import Part, read_file
from services.gateway.feedback.writing import Batch, Writer
from services.gateway.inference.loading import Loaded
from services.gateway.inference.serving import Serving

MOST_ATOMIC = 10_000
MOST_TOLD = 1_000
"""Refused pieces that a sum of all lists."""
_MOST_PARTS = 1_000
"""Parts of a stream that wait for their commit; what they may hold is bounded by the writer."""
_MOST_ATOMIC_BYTES = 64 << 20


@dataclass(slots=True, kw_only=True)
class _Taken:
    """A part that is dealt with once `committed` is done."""

    received: int
    refused: list[gateway_pb2.RefusedFeedback]
    refused_count: int
    committed: asyncio.Future[None] | None


@dataclass(slots=True, kw_only=True)
class _Sum:
    received: int = 0
    refused: int = 0
    told: list[gateway_pb2.RefusedFeedback] = field(default_factory=list)
    answered: int = -1

    def add(self, taken: _Taken) -> None:
        self.received += taken.received
        self.refused += taken.refused_count
        self.told += taken.refused

    @property
    def unanswered(self) -> bool:
        return self.received != self.answered

    def answer(self) -> gateway_pb2.StreamFeedbackResponse:
        told, self.told, self.answered = self.told, [], self.received
        return gateway_pb2.StreamFeedbackResponse(
            received_count=self.received, committed_count=self.received - self.refused, refused_count=self.refused, refused=told
        )


class FeedbackStreams:
    """Belongs to the event loop."""

    def __init__(self, serving: Serving, writer: Writer) -> None:
        self._serving = serving
        self._writer = writer
        self._reading: set[asyncio.Future[None]] = set()
        self._draining = False

    async def messages(
        self, requests: AsyncIterator[gateway_pb2.StreamFeedbackRequest]
    ) -> AsyncIterator[gateway_pb2.StreamFeedbackResponse]:
        """Answers for the messages of a call. Raises what `Feedback.send` does, after what was committed before is answered."""
        first = await anext(requests, None)
        if first is None:
            raise InvalidField("parent", "is missing: send one message at least, which names the model.")
        async for answer in self._answers(first, _parts(first, requests)):
            yield answer

    async def file(
        self, first: gateway_pb2.StreamFeedbackRequest, kind: str, chunks: AsyncIterator[bytes]
    ) -> AsyncIterator[gateway_pb2.StreamFeedbackResponse]:
        """As `messages`, of a file in CSV (`text/csv`) or JSON lines; `first` has what isn't in the file."""
        parse(MODEL, first.parent, "parent")
        loaded = await self._serving.find(first.parent)
        async for answer in self._answers(first, read_file(kind, chunks, several=loaded.bundle.spec.multi_label)):
            yield answer

    def drain(self) -> None:
        """Ends the streams: what they read is committed and answered, then their callers hear that they should come back."""
        self._draining = True
        for reading in self._reading:
            reading.cancel()

    async def _answers(
        self, first: gateway_pb2.StreamFeedbackRequest, parts: AsyncIterator[Part]
    ) -> AsyncIterator[gateway_pb2.StreamFeedbackResponse]:
        parse(MODEL, first.parent, "parent")
        await self._serving.find(first.parent)
        request_id = request_id_of(first.request_id)
        if first.atomic:
            yield await self._whole(first.parent, request_id, parts)
            return
        queue: asyncio.Queue[_Taken | RegrowError | None] = asyncio.Queue(_MOST_PARTS)
        reading = asyncio.ensure_future(self._read(first.parent, request_id, parts, queue))
        self._reading.add(reading)
        try:
            async for answer in _acknowledged(queue, request_id):
                yield answer
        finally:
            self._reading.discard(reading)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _read(
        self,
        parent: str,
        request_id: str,
        parts: AsyncIterator[Part],
        queue: asyncio.Queue[_Taken | RegrowError | None],
    ) -> None:
        begun = 0
        try:
            async for part in parts:
                await queue.put(await self._take(parent, request_id, part, begun))
                begun += len(part.pieces)
        except RegrowError as error:
            await queue.put(error)
        except asyncio.CancelledError:
            if not self._draining:
                raise
            await queue.put(EngineUnavailable("gateway", "it is stopping"))
        else:
            await queue.put(None)

    async def _take(self, parent: str, request_id: str, part: Part, begun: int) -> _Taken:
        loaded = await self._serving.find(parent)
        good, ids, refused = _sorted(request_id, part, begun, loaded)
        committed = None
        if good:
            batch = Batch(parent, good, ids, loaded.bundle.spec, size=part.size)
            committed = await self._writer.begin_patiently(batch)
        return _Taken(
            received=len(part.pieces), refused=refused, refused_count=len(part.pieces) - len(good), committed=committed
        )

    async def _whole(self, parent: str, request_id: str, parts: AsyncIterator[Part]) -> gateway_pb2.StreamFeedbackResponse:
        pieces: list[gateway_pb2.Feedback | FieldProblem] = []
        lines: list[int] = []
        size = 0
        async for part in parts:
            pieces += part.pieces
            lines += part.lines
            size += part.size
            if len(pieces) > MOST_ATOMIC or size > _MOST_ATOMIC_BYTES:
                raise InvalidField(
                    "atomic",
                    f"a stream that is committed whole has {MOST_ATOMIC:,} pieces and 64 MiB at most. Send it in parts.",
                )
        loaded = await self._serving.find(parent)
        good, ids, refused = _sorted(request_id, Part(pieces=pieces, size=size, lines=lines), 0, loaded)
        refuse([FieldProblem(field=f"{_place(one)}.{one.field}", problem=one.problem) for one in refused])
        if good:
            committed = self._writer.begin(Batch(parent, good, ids, loaded.bundle.spec, size=size))
            await _committed(committed, request_id)
        return gateway_pb2.StreamFeedbackResponse(received_count=len(good), committed_count=len(good))


async def total(answers: AsyncIterator[gateway_pb2.StreamFeedbackResponse]) -> gateway_pb2.StreamFeedbackResponse:
    """The sum of all answers. An error says how much was committed before it."""
    last, told = gateway_pb2.StreamFeedbackResponse(), list[gateway_pb2.RefusedFeedback]()
    try:
        async for answer in answers:
            told += answer.refused[: max(0, MOST_TOLD - len(told))]
            last = answer
    except RegrowError as error:
        error.facts |= {"received_count": str(last.received_count), "committed_count": str(last.committed_count)}
        raise
    del last.refused[:]
    last.refused.extend(told)
    return last


async def _committed(future: asyncio.Future[None], request_id: str) -> None:
    cure = f"Send the stream again from its beginning with request_id '{request_id}', so that each event of it counts once."
    await settled(future, cure, request_id=request_id)


async def _acknowledged(
    queue: asyncio.Queue[_Taken | RegrowError | None], request_id: str
) -> AsyncIterator[gateway_pb2.StreamFeedbackResponse]:
    """One answer for each run of parts that are committed by now; where it breaks, one for those before."""
    done = _Sum()
    failure: RegrowError | None = None
    while (taken := await queue.get()) is not None:
        try:
            if isinstance(taken, RegrowError):
                raise taken
            if taken.committed is not None:
                await _committed(taken.committed, request_id)
        except RegrowError as error:
            failure = error
            break
        done.add(taken)
        if queue.empty() or taken.refused:
            yield done.answer()
    if done.unanswered and (done.received or failure is None):
        yield done.answer()
    if failure is not None:
        raise failure


async def _parts(
    first: gateway_pb2.StreamFeedbackRequest, requests: AsyncIterator[gateway_pb2.StreamFeedbackRequest]
) -> AsyncIterator[Part]:
    yield Part(pieces=first.feedback, size=first.ByteSize())
    async for request in requests:
        if request.parent not in ("", first.parent):
            raise InvalidField(
                "parent", f"'{request.parent[:80]}' differs from the first message's. A stream is about one model."
            )
        yield Part(pieces=request.feedback, size=request.ByteSize())


def _sorted(
    request_id: str, part: Part, begun: int, loaded: Loaded
) -> tuple[list[gateway_pb2.Feedback], list[str], list[gateway_pb2.RefusedFeedback]]:
    """The good pieces with their ids, and what is wrong with the others."""
    good: list[gateway_pb2.Feedback] = []
    ids: list[str] = []
    refused: list[gateway_pb2.RefusedFeedback] = []
    for number, piece in enumerate(part.pieces):
        index = begun + number
        if isinstance(piece, FieldProblem):
            found, event_id = [piece], ""
        else:
            found, event_id = [] if is_plain(piece, loaded) else problems(piece, loaded), piece.event_id
            if not found:
                good.append(piece)
                ids.append(event_id.strip() or f"{request_id}-{index}")
        for one in found:
            line = part.lines[number] if part.lines else 0
            refused.append(
                gateway_pb2.RefusedFeedback(
                    index=index, line=line, event_id=event_id[:200], field=one.field, problem=one.problem
                )
            )
    return good, ids, refused


def _place(one: gateway_pb2.RefusedFeedback) -> str:
    return f"line {one.line}" if one.line else f"feedback[{one.index}]"
