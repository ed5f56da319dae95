"""What every call of the client gets: the key, a deadline, an id that makes repeating it safe, retries, and `CallError`.

A call is repeated where the server could not be reached or said when to come back, and only where a second arrival does
no harm: it reads, or it carries a `request_id` or `event_id` (made here where the caller left it empty), or its proto says
that it is idempotent. Calls block; from many threads is fine.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from regrow.errors import CallError, from_rpc_error

SLOW, STREAM = 600.0, 3600.0
_SECONDS = {
    **dict.fromkeys(("ImportDataset", "WriteVotes", "WatchRun", "ExportDataset", "ExportLabelSet", "DownloadArtifact"), STREAM),
    **dict.fromkeys(("CreateProblemSpec", "PreviewLabeler", "ApplyLabelers", "CreateLabelSet", "NextRows"), SLOW),
    **dict.fromkeys(("GetProfile", "UpdateSchema", "AppendRows", "DeleteDataset"), SLOW),
}
_READS = ("Get", "List", "Validate", "Preview", "Predict", "NextRows")
_IDEMPOTENT = ("ApplyLabelers", "RetireLabeler", "RetractVotes", "RevokeKey", "CancelRun")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Calls(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
):
    """The interceptor of a client's channel. `retry_for` is how long a call that may be repeated is tried again; 0 is never."""

    def __init__(self, key: str, address: str, *, timeout: float, retry_for: float) -> None:
        self._metadata = [("authorization", f"Bearer {key}")] if key else []
        self._address, self._timeout, self._retry_for = address, timeout, retry_for

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Calls, again where that is safe. Raises `CallError`."""
        complete, method = self._details(details), method_of(details)
        request = with_ids(request)
        return self.repeat(lambda: continuation(complete, request), may_repeat=is_repeatable(method, request))

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Calls once: a stream of requests can't be played again. Raises `CallError`."""
        return self.repeat(lambda: continuation(self._details(details), requests), may_repeat=False)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Answers the stream; it raises `CallError` where it breaks."""
        return Answers(continuation(self._details(details), request), self._address)

    def repeat(self, attempt: Callable[[], Any], *, may_repeat: bool) -> Any:
        """The first attempt that succeeds, within `retry_for` of the first failure. Raises the last failure."""
        pause, give_up = _FIRST_PAUSE, None
        while True:
            try:
                call = attempt()
                error = call.exception() if hasattr(call, "exception") else None
                if error is None:
                    return call
                failure = self._failure(error)
            except CallError as refused:
                failure = refused
            give_up = give_up or time.monotonic() + self._retry_for
            wait = max(pause, failure.retry_after or 0.0) * random.uniform(0.8, 1.2)
            if not (may_repeat and is_passing(failure) and time.monotonic() + wait < give_up):
                raise failure from None
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _failure(self, error: BaseException) -> CallError:
        if isinstance(error, grpc.RpcError):
            return from_rpc_error(error, address=self._address)
        raise error

    def _details(self, details: Any) -> grpc.ClientCallDetails:
        seconds = max(self._timeout, _SECONDS.get(method_of(details), 0.0)) if details.timeout is None else details.timeout
        return _Details(details, [*(details.metadata or []), *self._metadata], seconds)


class Answers:
    """A server's stream: iterate over it, `cancel` it from any thread. It raises `CallError`."""

    def __init__(self, call: Any, address: str) -> None:
        self._call, self._address = call, address

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise from_rpc_error(error, address=self._address) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Details(grpc.ClientCallDetails):
    """A call's details with other metadata and another deadline."""

    def __init__(self, details: Any, metadata: list[tuple[str, str]], timeout: float) -> None:
        self.method, self.metadata, self.timeout = details.method, tuple(metadata), timeout
        self.credentials, self.wait_for_ready, self.compression = (
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


def is_passing(failure: CallError) -> bool:
    """Whether the failure may be gone in a moment."""
    return failure.code == "UNAVAILABLE" or (failure.code == "RESOURCE_EXHAUSTED" and failure.retry_after is not None)


def method_of(details: Any) -> str:
    """`GetRun` of `/regrow.training.v1.RunService/GetRun`."""
    method = details.method
    return (method.decode() if isinstance(method, bytes) else str(method)).rpartition("/")[2]


def is_repeatable(method: str, request: Any) -> bool:
    """Whether a second arrival of this request does no harm."""
    if method.startswith(_READS) or method in _IDEMPOTENT:
        return True
    return isinstance(request, Message) and (_has(request, "request_id") or bool(_feedback_of(request)))


def with_ids(request: Any) -> Any:
    """The request with a `request_id` and `event_id`s where they are empty. Its argument stays as it is."""
    if not isinstance(request, Message) or not (_has(request, "request_id") or _feedback_of(request)):
        return request
    complete: Any = type(request)()
    complete.CopyFrom(request)
    if _has(request, "request_id") and not complete.request_id:
        complete.request_id = str(uuid.uuid4())
    for feedback in _feedback_of(complete):
        feedback.event_id = feedback.event_id or str(uuid.uuid4())
    return complete


def _has(message: Message, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name


def _feedback_of(request: Any) -> list[Any]:
    field = request.DESCRIPTOR.fields_by_name.get("feedback")
    if field is None or field.message_type is None or "event_id" not in field.message_type.fields_by_name:
        return []
    return [request.feedback] if request.DESCRIPTOR.name == "SendFeedbackRequest" else list(request.feedback)
