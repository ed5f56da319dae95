"""Feedback that comes in calls: one piece, or a batch that is committed whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import FieldProblem, InvalidField, InvalidFields
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
        """Commits one. Raises `InvalidField`, `Busy`, `EngineUnavailable`, and what `Serving.find` does."""
        (event_id,) = await self._accept(request.parent, [request.feedback], ["feedback."])
        return gateway_pb2.SendFeedbackResponse(event_id=event_id)

    async def batch_send(self, request: gateway_pb2.BatchSendFeedbackRequest) -> gateway_pb2.BatchSendFeedbackResponse:
        """Commits all or none. Raises `InvalidFields` that names each wrong one, and what `send` does."""
        prefixes = [f"feedback[{index}]." for index in range(len(request.feedback))]
        event_ids = await self._accept(request.parent, request.feedback, prefixes)
        return gateway_pb2.BatchSendFeedbackResponse(event_ids=event_ids)

    async def _accept(self, parent: str, sent: Sequence[gateway_pb2.Feedback], prefixes: Sequence[str]) -> list[str]:
        parse(MODEL, parent, "parent")
        loaded = await self._serving.find(parent)
        refuse(all_problems(sent, prefixes, loaded))
        ids = [one.event_id.strip() or new_id() for one in sent]
        await self._writer.begin(Batch(parent, sent, ids, loaded.bundle.spec, size=sum(one.ByteSize() for one in sent)))
        return ids


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
