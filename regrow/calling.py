# Made by `make protos` from regrow/aio/calling.py, without the words of asyncio. Edit that file.
"""What every call of the client gets: the key, a deadline, an id that makes repeating it safe, retries, and `CallError`.

A call is repeated where the server could not be reached or said when to come back, and only where a second arrival does
no harm: it reads, or it carries a `request_id` or `event_id` (made here where the caller left it empty), or its proto says
that it is idempotent. `regrow.services` has one object of these classes for each public rpc.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import grpc

from regrow.errors import CallError, from_rpc_error
from regrow.paging import iterate, pages
from regrow.repeating import Metadata, Patience, as_stream, ids_of, is_repeatable, seconds_for, with_ids

RequestT = TypeVar("RequestT", bound=Any)
ResponseT = TypeVar("ResponseT", bound=Any)
ItemT = TypeVar("ItemT", bound=Any)
AnswerT = TypeVar("AnswerT")


class Calls:
    """What the calls of one client share. `retry_for` is how long one that may be repeated is tried again; 0 is never."""

    def __init__(self, key: str, address: str, *, timeout: float, retry_for: float) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._timeout = timeout
        self.address, self.retry_for = address, retry_for

    def options(self, method: str, timeout: float | None, metadata: Metadata) -> dict[str, Any]:
        """Deadline and headers of one call, as gRPC takes them."""
        seconds = seconds_for(method, self._timeout) if timeout is None else timeout
        return {"timeout": seconds, "metadata": (*metadata, *self._metadata)}

    def repeat(self, attempt: Callable[[], AnswerT], *, may_repeat: bool) -> AnswerT:
        """The first attempt that succeeds, within `retry_for` of the first failure. Raises the last failure."""
        patience = Patience(self.retry_for if may_repeat else 0.0)
        while True:
            try:
                return attempt()
            except (grpc.RpcError, CallError) as error:
                failure = error if isinstance(error, CallError) else from_rpc_error(error, address=self.address)
            wait = patience.wait(failure, time.monotonic()) if may_repeat else None
            if wait is None:
                raise failure
            time.sleep(wait)


class _Call(Generic[RequestT, ResponseT]):
    """One rpc of one client. `kind` is gRPC's: `unary_unary`, ..."""

    kind = ""

    def __init__(
        self, channel: grpc.Channel, calls: Calls, path: str, request: type[RequestT], response: type[ResponseT]
    ) -> None:
        self.path, self.method = path, path.rpartition("/")[2]
        self.request, self.response = request, response
        self._calls = calls
        self._call: Callable[..., Any] = getattr(channel, self.kind)(
            path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    def __repr__(self) -> str:
        return f"<{self.path[1:]}>"


class Unary(_Call[RequestT, ResponseT]):
    """One request, one answer."""

    kind = "unary_unary"

    def __call__(self, request: RequestT, /, *, timeout: float | None = None, metadata: Metadata = ()) -> ResponseT:
        """Calls, again where that is safe. Raises `CallError`, whose facts have the id to repeat the call with."""
        request = with_ids(request)

        def attempt() -> ResponseT:
            answer: ResponseT = self._call(request, **self._calls.options(self.method, timeout, metadata))
            return answer

        try:
            return self._calls.repeat(attempt, may_repeat=is_repeatable(self.method, request))
        except CallError as failure:
            failure.facts = {**ids_of(request, failure), **failure.facts}
            raise


class Paged(Unary[RequestT, ResponseT], Generic[RequestT, ResponseT, ItemT]):
    """A list: one page for one request, or all of them."""

    def pages(self, request: RequestT) -> Iterator[ResponseT]:
        """Each page, asked for when it is needed. Raises `CallError` while it is read."""
        return pages(self, request)

    def each(self, request: RequestT) -> Iterator[ItemT]:
        """Each entry of each page. Raises `CallError` while it is read."""
        return iterate(self, request)


class ClientStream(_Call[RequestT, ResponseT]):
    """Many requests, one answer. Sent once: a stream can't be played again."""

    kind = "stream_unary"

    def __call__(
        self,
        requests: Iterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> ResponseT:
        """Sends all of them. Raises `CallError`."""

        def attempt() -> ResponseT:
            answer: ResponseT = self._call(as_stream(requests), **self._calls.options(self.method, timeout, metadata))
            return answer

        return self._calls.repeat(attempt, may_repeat=False)


class ServerStream(_Call[RequestT, ResponseT]):
    """One request, many answers."""

    kind = "unary_stream"

    def __call__(self, request: RequestT, /, *, timeout: float | None = None, metadata: Metadata = ()) -> Answers[ResponseT]:
        """Answers the stream; it raises `CallError` where it breaks."""
        call = self._call(with_ids(request), **self._calls.options(self.method, timeout, metadata))
        return Answers(call, self._calls.address)


class BothStream(_Call[RequestT, ResponseT]):
    """Many requests, many answers, at one's own pace each."""

    kind = "stream_stream"

    def __call__(
        self,
        requests: Iterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Answers[ResponseT]:
        """Answers the stream; it raises `CallError` where it breaks."""
        call = self._call(as_stream(requests), **self._calls.options(self.method, timeout, metadata))
        return Answers(call, self._calls.address)


class Answers(Generic[ResponseT]):
    """A server's stream: iterate over it, `cancel` it. It raises `CallError`."""

    def __init__(self, call: Any, address: str) -> None:
        self._call, self._address = call, address
        self._messages = iter(call)

    def __iter__(self) -> Answers[ResponseT]:
        return self

    def __next__(self) -> ResponseT:
        try:
            message: ResponseT = next(self._messages)
        except grpc.RpcError as error:
            raise from_rpc_error(error, address=self._address) from None
        return message

    def cancel(self) -> None:
        """Ends the stream; whoever reads it gets CANCELLED."""
        self._call.cancel()
