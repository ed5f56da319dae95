"""Feedback: labels that became known in production. Accepted means committed to the event log; there is no other journal.

A label is checked against the champion's spec, so that a wrong class is told to who sent it and not found weeks later. A
`prediction_id` isn't looked up here: labeling joins it, for the prediction may still be on its way to the log.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from regrow.events.v1 import events_pb2
from regrow.gateway.v1 import gateway_pb2
from services.common import tracing
from services.common.bundle.values import read_rows
from services.common.errors import EngineUnavailable, FieldProblem, InvalidField, InvalidFields, RegrowError
from services.common.events.cloud_events import envelope
from services.common.events.port import FEEDBACK, Event, EventLog
from services.common.names import parse
from services.common.rpc.principal import Principal, current_principal
from services.gateway.appending import Appender
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import plain
from services.gateway.inference.serving import Serving

EVENT_TYPE = "regrow.feedback.v1"
SOURCE = "/regrow/gateway"
_MOST_BYTES = 64 << 20
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class Feedback:
    """Belongs to the event loop, with one thread at the event log."""

    def __init__(self, serving: Serving, events: EventLog, *, backlog: int, wait_seconds: float) -> None:
        self._serving = serving
        self._appender = Appender(events, FEEDBACK, most_events=backlog, most_bytes=_MOST_BYTES, patience=wait_seconds)

    async def send(self, request: gateway_pb2.SendFeedbackRequest) -> gateway_pb2.SendFeedbackResponse:
        """Commits one. Raises `InvalidField`, `EngineUnavailable`, and what `Serving.find` does."""
        (event_id,) = await self._accept(request.parent, [request.feedback], ["feedback"])
        return gateway_pb2.SendFeedbackResponse(event_id=event_id)

    async def batch_send(self, request: gateway_pb2.BatchSendFeedbackRequest) -> gateway_pb2.BatchSendFeedbackResponse:
        """Commits all or none. Raises `InvalidFields` that names each wrong one."""
        paths = [f"feedback[{index}]" for index in range(len(request.feedback))]
        event_ids = await self._accept(request.parent, request.feedback, paths)
        return gateway_pb2.BatchSendFeedbackResponse(event_ids=event_ids)

    def close(self, seconds: float) -> None:
        """Commits what waits."""
        self._appender.close(seconds)

    async def _accept(self, parent: str, sent: Sequence[gateway_pb2.Feedback], paths: Sequence[str]) -> list[str]:
        parse("projects/{project}/models/{model}", parent, "parent")
        loaded = await self._serving.find(parent)
        problems = [problem for one, path in zip(sent, paths, strict=True) for problem in _problems(one, path, loaded)]
        if problems:
            raise InvalidField(problems[0].field, problems[0].problem) if len(problems) == 1 else InvalidFields(problems)
        context, span = tracing.sending(FEEDBACK, len(sent))
        events = _events(parent, sent, loaded, current_principal(), datetime.now(UTC), tracing.extensions(context))
        with tracing.ended(span):
            await self._commit(events)
        return [event.headers["ce_id"] for event in events]

    async def _commit(self, events: list[Event]) -> None:
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()

        def settle(error: RegrowError | None) -> None:
            if committed.done():
                return
            if error is None:
                committed.set_result(None)
            else:
                committed.set_exception(error)

        def done(error: RegrowError | None) -> None:
            loop.call_soon_threadsafe(settle, error)

        size = sum(len(event.value) for event in events)
        if not self._appender.offer(lambda: events, count=len(events), size=size, done=done):
            raise EngineUnavailable("events", "too much feedback waits to be written")
        await committed


def _problems(sent: gateway_pb2.Feedback, path: str, loaded: Loaded) -> list[FieldProblem]:
    """Everything that is wrong with one piece of feedback."""
    found: list[tuple[str, str]] = []
    if bool(sent.prediction_id) == sent.HasField("features"):
        what = "and features exclude each other: send one" if sent.prediction_id else "or features must say what this is about"
        found.append((f"{path}.prediction_id", f"{what}."))
    elif sent.HasField("features"):
        found += _feature_problems(sent, path, loaded)
    found += _class_problems(sent, path, loaded)
    if sent.HasField("observe_time") and not _FIRST_SECOND <= sent.observe_time.seconds <= _LAST_SECOND:
        found.append((f"{path}.observe_time", "lies outside the years 1 to 9999."))
    return [FieldProblem(field=field, problem=problem) for field, problem in found]


def _feature_problems(sent: gateway_pb2.Feedback, path: str, loaded: Loaded) -> list[tuple[str, str]]:
    row, inputs = plain(sent.features), loaded.bundle.manifest.inputs
    if not any(column.name in row for column in inputs):
        names = ", ".join(column.name for column in inputs[:10])
        return [(f"{path}.features", f"has none of the model's columns: {names}.")]
    try:
        read_rows([row], inputs)
    except InvalidField as error:
        return [(f"{path}.features.{one.field.removeprefix('rows[0].')}", one.problem) for one in error.problems]
    return []


def _class_problems(sent: gateway_pb2.Feedback, path: str, loaded: Loaded) -> list[tuple[str, str]]:
    spec, names = loaded.bundle.spec, list(sent.class_names)
    if not spec.multi_label and len(names) != 1:
        return [(f"{path}.class_names", f"must be exactly one class, not {len(names)}: a row of this model has one.")]
    listed = ", ".join(spec.class_names[:20]) + (", ..." if len(spec.class_names) > 20 else "")
    return [
        (f"{path}.class_names[{index}]", f"'{name[:80]}' is no class of this model. Its classes: {listed}.")
        for index, name in enumerate(names)
        if name.strip() not in loaded.class_of
    ]


def _events(
    model: str,
    sent: Sequence[gateway_pb2.Feedback],
    loaded: Loaded,
    principal: Principal,
    now: datetime,
    trace: Mapping[str, str],
) -> list[Event]:
    return [_event(model, one, loaded, principal, now, trace) for one in sent]


def _event(
    model: str, sent: gateway_pb2.Feedback, loaded: Loaded, principal: Principal, now: datetime, trace: Mapping[str, str]
) -> Event:
    spec = loaded.bundle.spec
    accepted = Timestamp()
    accepted.FromDatetime(now)
    payload = events_pb2.Feedback(
        event_id=sent.event_id.strip() or uuid.uuid4().hex,
        model=model,
        prediction_id=sent.prediction_id,
        features=sent.features if sent.HasField("features") else None,
        class_names=[name.strip() for name in sent.class_names],
        source=sent.source.strip() or principal.name or principal.key_id,
        problem_spec=spec.name,
        dataset=spec.dataset,
        observe_time=sent.observe_time if sent.HasField("observe_time") else accepted,
        accept_time=accepted,
        key_id=principal.key_id,
    )
    headers = envelope(id=payload.event_id, type=EVENT_TYPE, source=SOURCE, time=now, extensions=trace)
    return Event(key=model, value=payload.SerializeToString(), headers=headers)
