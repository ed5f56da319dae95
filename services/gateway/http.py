"""One HTTP exchange on bare ASGI: what every public call over REST reads and writes, and when the caller goes away.

Bare, because a prediction takes less time than a stack of middleware: the answer is two messages to the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import orjson
from starlette.types import Receive, Scope, Send

from services.common.errors import (
    Busy,
    EngineUnavailable,
    InvalidField,
    InvalidInput,
    OutcomeUnknown,
    QuotaExceeded,
    RegrowError,
    TooLarge,
    Unauthenticated,
    Unsupported,
)
from services.common.rpc.principal import REQUEST_ID_KEY, new_request_id, request_id_from
from services.common.rpc.status import error_body, http_status, to_status
from services.gateway.calls import ClientGone, rate_told
from services.gateway.compressing import WORTH_BYTES, compressed

Headers = list[tuple[bytes, bytes]]
Answer = TypeVar("Answer")

JSON = b"application/json"
_BODY_SECONDS = 120.0
_FIXED: Headers = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class VerbNotAllowed(Unsupported):
    """There is such a path, and it takes other verbs: 405, which says them in `Allow`."""

    reason = "METHOD_NOT_ALLOWED"


class Exchange:
    """One request with its answer. `raw_path` and `query` are as they were sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._body_ended = False
        self.started = False
        self.also: Headers = []
        """Headers that every answer gets from now on."""
        self.help_url = "/docs"
        self.verb: str = scope["method"]
        self.scheme: str = scope.get("scheme", "http")
        self.raw_path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = _request_id(self.headers)
        self._client = scope.get("client")

    def peer(self) -> str:
        """The address that the request came from."""
        return f"{self._client[0]}:{self._client[1]}" if self._client else ""

    def header(self, name: bytes) -> str:
        """A header's value, empty where it wasn't sent."""
        return self.headers.get(name, b"").decode("latin-1")

    async def body(self, limit: int, *, may_be_compressed: bool = False) -> bytes:
        """The whole body, as it was sent. Raises `TooLarge`, `ClientGone`, and `InvalidField` for a compressed one."""
        if not may_be_compressed:
            self.refuse_compressed()
        chunks = self.chunks(limit, "The body")
        first = await anext(chunks, b"")
        if self._body_ended:
            return first
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return first + b"".join([chunk async for chunk in chunks])
        except TimeoutError:
            raise InvalidField("body", f"took longer than {_BODY_SECONDS:.0f} seconds to arrive.") from None

    def refuse_compressed(self) -> None:
        """Raises `InvalidField`: a small body that unpacks to a large one would pass every limit."""
        if self.header(b"content-encoding") not in ("", "identity"):
            raise InvalidField("content-encoding", "isn't supported here: send the body uncompressed.")

    async def chunks(self, limit: int, what: str) -> AsyncIterator[bytes]:
        """The body as it arrives: the server reads no further than this is taken. Raises `TooLarge`, `ClientGone`."""
        length = self.headers.get(b"content-length", b"")
        received = int(length) if length.isdigit() else 0
        if received > limit:
            raise TooLarge(what, limit=_size(limit))
        received = 0
        while not self._body_ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("The caller closed the connection before the body was complete.")
            self._body_ended = not message.get("more_body", False)
            content: bytes = message.get("body", b"")
            received += len(content)
            if received > limit:
                raise TooLarge(what, limit=_size(limit))
            if content:
                yield content

    async def gone(self) -> None:
        """Returns when the caller has closed the connection. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, work: Awaitable[Answer]) -> Answer:
        """The work's answer; cancels it and raises `ClientGone` where the caller leaves first."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone("The caller closed the connection before the answer was ready.")
            return task.result()
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()

    async def start(self, status: int, content_type: bytes, headers: Headers | None = None) -> None:
        """Sends the head of an answer whose length isn't known."""
        self.started = True
        own = [
            (b"content-type", content_type),
            (b"x-request-id", self.request_id.encode()),
            *_FIXED,
            *self.also,
            *(headers or []),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": own})

    async def write(self, content: bytes, *, more: bool = True) -> None:
        """Sends a part; waits while the caller reads slower than we write."""
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def answer(
        self, content: bytes, *, status: int = 200, content_type: bytes = JSON, headers: Headers | None = None,
        worth_bytes: int = WORTH_BYTES,
    ) -> None:  # fmt: skip
        """Sends a whole answer, compressed where it has `worth_bytes` or more and the caller takes that."""
        more = headers or []
        if len(content) >= worth_bytes:
            content, coded = await compressed(content, self.headers.get(b"accept-encoding", b""))
            more = [*more, *coded]
        await self.start(status, content_type, [(b"content-length", b"%d" % len(content)), *more])
        await self.write(content, more=False)

    async def fail(self, error: RegrowError, *, status: int | None = None, headers: Headers | None = None) -> None:
        """Sends an error as AIP-193's JSON, with the headers that say when to come back and how to authenticate."""
        told = to_status(error, self.request_id, self.help_url if isinstance(error, InvalidInput) else "")
        body = error_body(told)
        if status is not None:
            body["error"]["code"] = status
        await self.answer(orjson.dumps(body), status=status or http_status(told), headers=[*hints(error), *(headers or [])])


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's id where it sent a fit one, else a new one."""
    sent = headers.get(b"x-request-id")
    return new_request_id() if sent is None else request_id_from({REQUEST_ID_KEY: sent.decode("latin-1")})


def error_line(error: RegrowError, request_id: str) -> bytes:
    """An error that comes when a stream has begun: the same body, as one line."""
    return orjson.dumps(error_body(to_status(error, request_id)))


def hints(error: RegrowError) -> Headers:
    """Headers that say how to authenticate, or when to come back."""
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'Bearer realm="regrow"')]
    if isinstance(error, Busy | QuotaExceeded | EngineUnavailable | OutcomeUnknown):
        rate = rate_told(error.standing) if isinstance(error, QuotaExceeded) else []
        return [(b"retry-after", b"%d" % max(1, round(error.retry_after.total_seconds()))), *rate]
    return []


def _size(limit: int) -> str:
    return f"{limit / (1 << 20):,.0f} MiB" if limit >= 1 << 20 else f"{limit:,} bytes"
