"""Every answered prediction, on its way to topic `regrow.predictions`.

What may be lost: an answer doesn't wait for its record. Records gather for at most 50 ms or 1,000 of them, then they are
committed together; so a kill of the process loses the predictions of about the last 100 ms, and an orderly stop loses none.
While the log is down, up to `most_rows` records wait in memory, the oldest first in line. Beyond that the log of a new
prediction is given up, not its answer: it is counted (`regrow_predictions_unlogged_total`), and feedback that names it will
be found among the unmatched.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import Counter

from regrow.events.v1 import events_pb2
from services.common import tracing
from services.common.errors import RegrowError
from services.common.events.cloud_events import envelope
from services.common.events.port import PREDICTIONS, Event, EventLog
from services.gateway.appending import Appender

LINGER_SECONDS = 0.05
EVENT_TYPE = "regrow.prediction.v1"
SOURCE = "/regrow/gateway"
_MOST_BYTES = 128 << 20
# Checked once: what differs from event to event, an id and a time, can't make an envelope wrong.
_ENVELOPE = envelope(id="-", type=EVENT_TYPE, source=SOURCE, time=datetime.now(UTC))

UNLOGGED = Counter("regrow_predictions_unlogged", "Predictions that were answered but never reached the event log.")


@dataclass(slots=True, kw_only=True)
class Answered:
    """One call's answers. `features` gives the rows as the caller sent them; it is called in the log's thread.

    Nobody changes it; but making a dataclass that is frozen takes three times as long, at every prediction.
    """

    ids: Sequence[str]
    model: str
    version: int
    features: Callable[[], Sequence[Struct]]
    probabilities: npt.NDArray[np.float32]
    class_names: Sequence[Sequence[str]]
    problem_spec: str
    dataset: str
    time: datetime

    def events(self, trace: Mapping[str, str]) -> list[Event]:
        """What is appended: one event a row. `trace` are the headers that tie them to the call."""
        moment = Timestamp()
        moment.FromDatetime(self.time)
        features, common = self.features(), {**_ENVELOPE, "ce_time": self.time.isoformat(), **trace}
        return [self._event(row, features[row], moment, common) for row in range(len(self.ids))]

    def _event(self, row: int, features: Struct, moment: Timestamp, common: Mapping[str, str]) -> Event:
        payload = events_pb2.Prediction(
            prediction_id=self.ids[row], features=features, probabilities=self.probabilities[row].tolist(),
            class_names=self.class_names[row], predict_time=moment,
        )  # fmt: skip
        # Messages in a row, serialized, are one message with the fields of all.
        content = _of_version(self.model, self.version, self.problem_spec, self.dataset) + payload.SerializeToString()
        return Event(key=self.model, value=content, headers={**common, "ce_id": self.ids[row]})


@lru_cache(maxsize=1024)
def _of_version(model: str, version: int, problem_spec: str, dataset: str) -> bytes:
    """What all predictions of a version have in common, serialized once."""
    common = events_pb2.Prediction(model=model, version=version, problem_spec=problem_spec, dataset=dataset)
    content: bytes = common.SerializeToString()
    return content


class PredictionLog:
    """`record` never waits and never fails."""

    def __init__(self, events: EventLog, *, most_rows: int) -> None:
        self._appender = Appender(events, PREDICTIONS, most_events=most_rows, most_bytes=_MOST_BYTES, linger=LINGER_SECONDS)

    @property
    def pending(self) -> int:
        """Predictions not yet committed."""
        return self._appender.pending

    def record(self, answered: Answered, size: int) -> None:
        """Hands answers over for the call at hand; `size` is about how many bytes they hold."""
        count = len(answered.ids)
        context, span = tracing.sending(PREDICTIONS, count)
        trace = {f"ce_{name}": value for name, value in tracing.extensions(context).items()}

        def done(error: RegrowError | None) -> None:
            if error is not None:
                UNLOGGED.inc(count)
            if span is not None:
                span.end(error)

        if not self._appender.offer(lambda: answered.events(trace), count=count, size=size, done=done):
            UNLOGGED.inc(count)

    def close(self, seconds: float) -> None:
        """Writes what waits."""
        UNLOGGED.inc(self._appender.close(seconds))


class PredictionIds:
    """Ids of 32 hexadecimal digits that sort by time: milliseconds, a counter, and what tells processes apart."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._milliseconds = 0
        self._count = 0

    def take(self, count: int) -> tuple[list[str], datetime]:
        """New ids, each larger than all before, and the moment that they carry."""
        now = time.time()
        self._milliseconds = max(self._milliseconds, int(now * 1000))
        first, self._count = self._count, self._count + count
        if self._count > 0xFFFFFFFF:
            self._milliseconds, first, self._count = self._milliseconds + 1, 0, count
        head, tail = f"{self._milliseconds:012x}", self._process
        return [f"{head}{number:08x}{tail}" for number in range(first, first + count)], datetime.fromtimestamp(now, UTC)
