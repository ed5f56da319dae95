"""Feedback as events of the log, and their commit. Accepted means committed: there is no other journal."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from google.protobuf.timestamp_pb2 import Timestamp

from regrow.events.v1 import events_pb2
from regrow.gateway.v1 import gateway_pb2
from services.common import tracing
from services.common.errors import Busy, EngineUnavailable, RegrowError
from services.common.events.cloud_events import envelope
from services.common.events.port import FEEDBACK, Event, EventLog
from services.common.rpc.principal import current_principal
from services.common.spec import ProblemSpec
from services.gateway.appending import Appender
from services.gateway.limits.limiter import Limiter

EVENT_TYPE = "regrow.feedback.v1"
SOURCE = "/regrow/gateway"
MOST_BYTES = 64 << 20
"""What waits to be written, in all."""
_ROOM_SECONDS = 0.02
_RETRY_AFTER = timedelta(seconds=1)
# Checked once: what differs from event to event, an id and a time, can't make an envelope wrong.
_ENVELOPE = envelope(id="-", type=EVENT_TYPE, source=SOURCE, time=datetime.now(UTC))
_process, _numbers = secrets.token_hex(8), count()


def new_id() -> str:
    """An id for an event that came without one: of this process, then counted, for randomness is dear here."""
    return f"{_process}{next(_numbers):016x}"


class Batch:
    """Feedback that is committed whole or not at all, for the call at hand. `ids` are the events', `size` about their bytes."""

    def __init__(
        self, model: str, sent: Sequence[gateway_pb2.Feedback], ids: Sequence[str], spec: ProblemSpec, *, size: int
    ) -> None:
        context, self.span = tracing.sending(FEEDBACK, len(sent))
        self.sent, self.size = sent, size
        self._model, self._ids, self._spec = model, ids, spec
        self._principal = current_principal()
        self._trace = {f"ce_{name}": value for name, value in tracing.extensions(context).items()}
        self._time = datetime.now(UTC)
        self._made: list[Event] = []

    def events(self) -> Sequence[Event]:
        """Made when they are written, in the thread that writes them, and once, however often it tries."""
        if not self._made:
            self._made = self._make()
        return self._made

    def _make(self) -> list[Event]:
        """Protobuf reads messages that follow one another as one, so what events have in common is written once for all."""
        accepted, principal, spec = Timestamp(), self._principal, self._spec
        accepted.FromDatetime(self._time)
        shared = events_pb2.Feedback(
            model=self._model, problem_spec=spec.name, dataset=spec.dataset, accept_time=accepted, key_id=principal.key_id
        ).SerializeToString()
        source = principal.name or principal.key_id
        common = {**_ENVELOPE, "ce_time": self._time.isoformat(), **self._trace}
        events: list[Event] = []
        for one, event_id in zip(self.sent, self._ids, strict=True):
            own = events_pb2.Feedback(
                event_id=event_id,
                prediction_id=one.prediction_id,
                features=one.features if one.HasField("features") else None,
                class_names=[name.strip() for name in one.class_names],
                source=one.source.strip() or source,
                observe_time=one.observe_time if one.HasField("observe_time") else accepted,
            )
            headers = {**common, "ce_id": event_id}
            events.append(Event(key=self._model, value=own.SerializeToString() + shared, headers=headers))
        return events


class Writer:
    """Belongs to the event loop, with one thread at the event log."""

    def __init__(self, events: EventLog, limiter: Limiter, *, backlog: int, wait_seconds: float) -> None:
        self._limiter = limiter
        self._appender = Appender(events, FEEDBACK, most_events=backlog, most_bytes=MOST_BYTES, patience=wait_seconds)
        self._patience = wait_seconds

    def begin(self, batch: Batch) -> asyncio.Future[None]:
        """Hands a batch over; the future tells when it is committed. Raises `Busy`, `QuotaExceeded`, `EngineUnavailable`."""
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()
        account, count = self._limiter.current(), len(batch.sent)
        if account is not None:
            account.spend(feedback=count)

        def settle(error: RegrowError | None) -> None:
            if batch.span is not None:
                batch.span.end(error)
            if error is not None and account is not None:
                account.give_back(feedback=count)
            if committed.done():
                return
            if error is None:
                committed.set_result(None)
            else:
                committed.set_exception(error)

        def done(error: RegrowError | None) -> None:
            loop.call_soon_threadsafe(settle, error)

        if not self._appender.offer(batch.events, count=count, size=batch.size, done=done):
            if account is not None:
                account.give_back(feedback=count)
            if self._appender.closing:
                raise EngineUnavailable("gateway", "it is stopping")
            raise Busy("Too much feedback waits to be written. Send it again in a moment.", retry_after=_RETRY_AFTER)
        return committed

    async def begin_patiently(self, batch: Batch) -> asyncio.Future[None]:
        """As `begin`, but waits for room before it raises `Busy`."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._patience
        while True:
            try:
                return self.begin(batch)
            except Busy:
                if loop.time() > latest:
                    raise
            await asyncio.sleep(_ROOM_SECONDS)

    def close(self, seconds: float) -> None:
        """Commits what waits."""
        self._appender.close(seconds)
