"""Feedback that third parties write to the event log themselves: plain JSON, a CloudEvent 1.0 in structured mode.

    topic    regrow.feedback.in
    header   content-type: application/cloudevents+json
    value    {"specversion": "1.0", "type": "regrow.feedback.v1", "source": "/crm", "id": "17",
              "subject": "projects/shop/models/churn", "time": "2026-03-27T14:53:00Z",
              "data": {"prediction_id": "...", "class_names": ["yes"]}}

A gateway reads the topic as a consumer group, checks each event as it checks a call, and commits it to the feedback topic
before it goes on. What can't be accepted goes to the dead-letter topic with the reason, from where it can be replayed. Who
may write to the topic is decided by the log (Kafka's ACLs); a source is named `log:` and its CloudEvents source, so that
what comes this way can't speak in the name of an app that calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from prometheus_client import Counter

from regrow.gateway.v1 import gateway_pb2
from services.common import names
from services.common.errors import InvalidField, InvalidFields, NotFound, NotPossibleNow, RegrowError
from services.common.events.consume import run_consumer
from services.common.events.dead_letter import send_to_dead_letter
from services.common.events.lag import FEEDBACK_DOOR
from services.common.events.port import FEEDBACK_IN, EventLog, Record
from services.common.rpc.principal import Principal, acting_as
from services.gateway.feedback.checking import LOG_SOURCE, problems, time_problem
from services.gateway.feedback.door import MODEL, refuse
from services.gateway.feedback.files import MOST_RECORD
from services.gateway.feedback.writing import EVENT_TYPE, Batch, Writer
from services.gateway.inference.serving import Serving
from services.gateway.json_reading import read_message
from services.gateway.json_text import refuse_twice

CONTENT_TYPE = "application/cloudevents+json"
_NOBODY = Principal(key_id="event-log", role="viewer", name="event log")
_PATIENCE_SECONDS = 120.0
_CURES = (InvalidField, InvalidFields, NotFound, NotPossibleNow)
"""What is wrong with one event, and not with an engine: the next event is read on."""

RECORDS = Counter("regrow_feedback_log_records", "Feedback that was read from the event log, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One event as a third party wrote it."""

    model: str
    feedback: gateway_pb2.Feedback
    size: int


class LogDoor:
    """A thread that reads, and the event loop that checks and commits."""

    def __init__(self, serving: Serving, writer: Writer, events: EventLog) -> None:
        self._serving = serving
        self._writer = writer
        self._events = events
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to read. Call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="feedback-from-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends after the batch at hand. Not on the event loop, which that batch needs."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        run_consumer(self._events, [FEEDBACK_IN], FEEDBACK_DOOR, self._handle, self._stop)

    def _handle(self, records: Sequence[Record]) -> None:
        accepting = asyncio.run_coroutine_threadsafe(self._accept(records), self._loop)
        try:
            refused = accepting.result(_PATIENCE_SECONDS)
        finally:
            accepting.cancel()
        for record, error in refused:
            send_to_dead_letter(self._events, record, reason=f"{error.reason}: {error.message}", group=FEEDBACK_DOOR)
        RECORDS.labels("accepted").inc(len(records) - len(refused))
        RECORDS.labels("dead_letter").inc(len(refused))

    async def _accept(self, records: Sequence[Record]) -> list[tuple[Record, RegrowError]]:
        """Commits the good ones and answers the others. Raises `Busy`, `EngineUnavailable`: nothing is lost, all come again."""
        good: dict[str, list[Written]] = {}
        refused: list[tuple[Record, RegrowError]] = []
        for record in records:
            try:
                written = read_written(record)
                loaded = await self._serving.find(written.model)
                refuse(problems(written.feedback, loaded, "data.", source=written.feedback.source))
            except _CURES as error:
                refused.append((record, error))
            else:
                good.setdefault(written.model, []).append(written)
        with acting_as(_NOBODY):
            commits = [await self._begin(model, events) for model, events in good.items()]
        for commit in commits:
            await commit
        return refused

    async def _begin(self, model: str, written: Sequence[Written]) -> asyncio.Future[None]:
        loaded = await self._serving.find(model)
        sent, ids = [one.feedback for one in written], [one.feedback.event_id for one in written]
        batch = Batch(model, sent, ids, loaded.bundle.spec, size=sum(one.size for one in written))
        return await self._writer.begin_patiently(batch)


def read_written(record: Record) -> Written:
    """Raises `InvalidField`, whose field is the attribute or the data's field that is wrong."""
    body = _body(record)
    if body.get("specversion") != "1.0":
        raise InvalidField("specversion", "must be '1.0'.")
    if body.get("type") != EVENT_TYPE:
        raise InvalidField("type", f"must be '{EVENT_TYPE}'.")
    model = _text(body, "subject", 200)
    names.parse(MODEL, model, "subject")
    data = body.get("data")
    if not isinstance(data, dict):
        raise InvalidField("data", "must be a JSON object with prediction_id or features, and class_names.")
    for name in ("event_id", "eventId", "source"):
        if name in data:
            raise InvalidField(f"data.{name}", "is given by the event's own id and source: leave it out of the data.")
    feedback = gateway_pb2.Feedback()
    read_message(data, feedback, "data")
    feedback.event_id = _text(body, "id", 200)
    feedback.source = LOG_SOURCE + _text(body, "source", 96)
    if body.get("time") is not None and not feedback.HasField("observe_time"):
        read_message(body["time"], feedback.observe_time, "time")
        if wrong := time_problem(feedback.observe_time):
            raise InvalidField("time", wrong)
    return Written(model=model, feedback=feedback, size=len(record.value))


def _body(record: Record) -> dict[str, object]:
    kind = next((value for name, value in record.headers.items() if name.lower() == "content-type"), CONTENT_TYPE)
    if kind.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise InvalidField("headers.content-type", f"must be '{CONTENT_TYPE}', not '{kind[:80]}'.")
    if len(record.value) > MOST_RECORD:
        raise InvalidField("value", f"is longer than {MOST_RECORD >> 20} MiB.")
    try:
        body = orjson.loads(record.value)
    except orjson.JSONDecodeError as error:
        raise InvalidField("value", f"isn't JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    if not isinstance(body, dict):
        raise InvalidField("value", "must be a JSON object: a CloudEvent in structured mode.")
    refuse_twice(record.value, body)
    return body


def _text(body: dict[str, object], name: str, most: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= len(value) <= most or "\0" in value:
        raise InvalidField(name, f"must be a string of 1 to {most} characters, none of them NUL.")
    return value.strip()
