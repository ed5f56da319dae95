"""When a call may be sent again, how long it may take, and the ids that make a repetition harmless. Pure."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from regrow.errors import NOT_GRPC, CallError

SLOW, STREAM = 600.0, 3600.0
_SECONDS = {
    **dict.fromkeys(("ImportDataset", "WriteVotes", "WatchRun", "ExportDataset", "ExportLabelSet", "DownloadArtifact"), STREAM),
    "StreamFeedback": STREAM,
    **dict.fromkeys(("CreateProblemSpec", "PreviewLabeler", "ApplyLabelers", "CreateLabelSet", "NextRows"), SLOW),
    **dict.fromkeys(("GetProfile", "UpdateSchema", "AppendRows", "DeleteDataset", "WaitOperation"), SLOW),
}
_READS = ("Get", "List", "Validate", "Preview", "Predict", "NextRows", "WaitOperation")
_IDEMPOTENT = ("ApplyLabelers", "RetireLabeler", "RetractVotes", "RevokeKey", "CancelRun", "CancelOperation")
OUTCOME_OPEN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN")
"""After these, a call may have had its effect or not."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

RequestT = TypeVar("RequestT")
Metadata = Sequence[tuple[str, str]]
"""Further headers of a call, names in small letters."""


@dataclass(slots=True)
class Patience:
    """How long one call is tried again: `seconds` from its first failure on."""

    seconds: float
    pause: float = _FIRST_PAUSE
    give_up: float | None = None

    def wait(self, failure: CallError, now: float) -> float | None:
        """Seconds until the next attempt, with a little chance in them; None where it is time to give up."""
        self.give_up = now + self.seconds if self.give_up is None else self.give_up
        wait = max(self.pause, failure.retry_after or 0.0) * random.uniform(0.8, 1.2)
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        return wait if is_passing(failure) and now + wait < self.give_up else None


def is_passing(failure: CallError) -> bool:
    """Whether the failure may be gone in a moment."""
    unavailable = failure.code == "UNAVAILABLE" and failure.reason != NOT_GRPC
    return unavailable or (failure.code == "RESOURCE_EXHAUSTED" and failure.retry_after is not None)


def seconds_for(method: str, at_least: float) -> float:
    """The deadline of a call whose caller named none."""
    return max(at_least, _SECONDS.get(method, 0.0))


def is_repeatable(method: str, request: Any) -> bool:
    """Whether a second arrival of this request does no harm."""
    if method.startswith(_READS) or method in _IDEMPOTENT:
        return True
    return isinstance(request, Message) and (_has(request, "request_id") or bool(_feedback_of(request)))


def with_ids(request: RequestT) -> RequestT:
    """The request with a `request_id` and `event_id`s where they are empty. Its argument stays as it is."""
    if not isinstance(request, Message) or not (_has(request, "request_id") or _feedback_of(request)):
        return request
    complete: Any = type(request)()
    complete.CopyFrom(request)
    if _has(request, "request_id") and not complete.request_id:
        complete.request_id = str(uuid.uuid4())
    for number, feedback in enumerate(_feedback_of(complete)):
        feedback.event_id = feedback.event_id or _event_id(complete, number)
    made: RequestT = complete
    return made


def ids_of(request: Any, failure: CallError) -> dict[str, str]:
    """What makes the call harmless to repeat, where nobody knows whether the one that failed had its effect."""
    if failure.code not in OUTCOME_OPEN or not isinstance(request, Message):
        return {}
    if _has(request, "request_id"):
        return {"request_id": str(request.request_id)}  # type: ignore[attr-defined]
    feedback = _feedback_of(request)
    return {"event_id": feedback[0].event_id} if feedback else {}


def as_stream(requests: Any) -> Any:
    """gRPC's blocking calls take an iterator, which a list isn't."""
    return requests if hasattr(requests, "__next__") or hasattr(requests, "__aiter__") else iter(requests)


def _event_id(request: Any, number: int) -> str:
    """As the gateway makes it of a `request_id`."""
    return f"{request.request_id}-{number}" if _has(request, "request_id") else str(uuid.uuid4())


def _has(message: Message, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name


def _feedback_of(request: Any) -> list[Any]:
    field = request.DESCRIPTOR.fields_by_name.get("feedback")
    if field is None or field.message_type is None or "event_id" not in field.message_type.fields_by_name:
        return []
    return [request.feedback] if request.DESCRIPTOR.name == "SendFeedbackRequest" else list(request.feedback)
