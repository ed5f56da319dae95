"""Feedback that comes in calls: one piece, or a batch that is committed whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import EngineUnavailable, FieldProblem, InvalidField, InvalidFields, OutcomeUnknown
from services.common.names import parse
from services.gateway.feedback.checking import is_plain, problems
from services.gateway.feedback.writing import Batch, Writer, new_id
from services.gateway.inference.loading import Loaded
from services.gateway.inference.serving import Serving

MODEL = "projects/{project}/models/{model}"


class Feedback:
    """Belongs to the event loop."""

    def __init__(self, serving: Serving, writer: Writer) -> None:
        self._serving = serving
        self._writer = writer

    async def send(self, request: gateway_pb2.SendFeedbackRequest) -> gateway_pb2.SendFeedbackResponse:
        """Commits one. Raises `InvalidField`, `Busy`, `EngineUnavailable`, `OutcomeUnknown`, and what `Serving.find` does."""
        event_id = request.feedback.event_id.strip() or new_id()
        committed = await self._begin(request.parent, [request.feedback], ["feedback."], [event_id])
        await settled(committed, f"Send it again with event_id '{event_id}', so that it counts once.", event_id=event_id)
        return gateway_pb2.SendFeedbackResponse(event_id=event_id)

    async def batch_send(self, request: gateway_pb2.BatchSendFeedbackRequest) -> gateway_pb2.BatchSendFeedbackResponse:
        """Commits all or none. Raises `InvalidFields` that names each wrong one, and what `send` does."""
        request_id = request_id_of(request.request_id)
        prefixes = [f"feedback[{index}]." for index in range(len(request.feedback))]
        ids = [one.event_id.strip() or f"{request_id}-{index}" for index, one in enumerate(request.feedback)]
        committed = await self._begin(request.parent, request.feedback, prefixes, ids)
        cure = f"Send the batch again with request_id '{request_id}', so that each event of it counts once."
        await settled(committed, cure, request_id=request_id)
        return gateway_pb2.BatchSendFeedbackResponse(event_ids=ids)

    async def _begin(
        self, parent: str, sent: Sequence[gateway_pb2.Feedback], prefixes: Sequence[str], ids: Sequence[str]
    ) -> asyncio.Future[None]:
        """Checks all and hands them over; the future tells when they are committed."""
        parse(MODEL, parent, "parent")
        loaded = await self._serving.find(parent)
        refuse(all_problems(sent, prefixes, loaded))
        return self._writer.begin(Batch(parent, sent, ids, loaded.bundle.spec, size=sum(one.ByteSize() for one in sent)))


async def settled(committed: asyncio.Future[None], cure: str, **ids: str) -> None:
    """Raises `OutcomeUnknown`, with the ids to repeat the call by, where the log didn't say in time whether it took it."""
    try:
        await committed
    except EngineUnavailable as error:
        raise OutcomeUnknown(error, cure, **ids) from None


def request_id_of(sent: str) -> str:
    """The caller's where it sent one, else a new one. Raises `InvalidField`."""
    if "\0" in sent:
        raise InvalidField("request_id", "must have no NUL.")
    return sent.strip() or new_id()


def all_problems(sent: Sequence[gateway_pb2.Feedback], prefixes: Sequence[str], loaded: Loaded) -> list[FieldProblem]:
    """What is wrong with any of them."""
    return [
        problem
        for one, prefix in zip(sent, prefixes, strict=True)
        if not is_plain(one, loaded)
        for problem in problems(one, loaded, prefix)
    ]


def refuse(found: Sequence[FieldProblem]) -> None:
    """Raises `InvalidField` or `InvalidFields` where there is any problem."""
    if found:
        raise InvalidField(found[0].field, found[0].problem) if len(found) == 1 else InvalidFields(found)
