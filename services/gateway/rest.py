"""The public calls over REST: found by their route, read by descriptor, answered as JSON, streams or bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from starlette.types import Receive, Scope, Send

from services.common import tracing
from services.common.errors import InvalidField, NotFound, RegrowError
from services.common.masks import ReadMask
from services.common.rpc.principal import Call, Principal
from services.common.rpc.status import from_status
from services.gateway.calls import Calls, ClientGone
from services.gateway.compressing import WORTH_BYTES, WORTH_QUICK_BYTES
from services.gateway.conditions import IF_MATCH, etag_header, set_etag, tagged, wanted_etag
from services.gateway.docs_page import docs_url
from services.gateway.http import Exchange, Headers, VerbNotAllowed
from services.gateway.methods import Method
from services.gateway.operations.api import Operations
from services.gateway.operations.preference import Preference, preferred
from services.gateway.operations.rules import eligible
from services.gateway.partial import mask_for, taken_fields
from services.gateway.rest_files import answer_file
from services.gateway.rest_streams import answer_messages, answer_raw
from services.gateway.routes import Route, Router
from services.gateway.transcoding import not_found, read_request, read_upload, to_json

CHUNK_BYTES = 1 << 20
"""What one message of an upload carries at most."""
_FULL_BYTES = 256 << 10
"""Parts of a body are gathered up to here: fewer messages, and not much memory."""
_BIG_BYTES = 64 << 10
_PREDICT = "/regrow.gateway.v1.PredictionService/Predict"


class Rest:
    """An ASGI application for everything under `/v1/`."""

    def __init__(
        self, calls: Calls, router: Router, operations: Operations, *, max_body_bytes: int, max_upload_bytes: int
    ) -> None:
        self._calls = calls
        self._router = router
        self._operations = operations
        self._max_body = max_body_bytes
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; nothing is raised."""
        exchange = Exchange(scope, receive, send)
        try:
            found = self._router.find(exchange.verb, exchange.raw_path)
            if found.route is None:
                await _fail_without_route(exchange, found.allowed, not_found(found, exchange.verb, exchange.raw_path))
                return
            exchange.help_url = docs_url(found.route.method)
            arrived = arrival(exchange, found.route) if tracing.is_on() else None
            with self._calls.opened(found.route.method, exchange.request_id, None, arrived) as call:
                call.peer = exchange.peer
                try:
                    principal = await self._calls.authenticate(found.route.method, call, exchange.header(b"authorization"))
                except RegrowError:
                    call.about = partial(_named_in, found.values)
                    raise
                exchange.also = self._calls.rate_headers(principal)
                await self._answer(exchange, found.route, found.values, call)
        except ClientGone:
            return
        except RegrowError as error:
            if not exchange.started:
                await exchange.fail(error)

    async def _answer(self, exchange: Exchange, route: Route, values: Mapping[str, str], call: Call) -> None:
        method = route.method
        etag = wanted_etag(exchange.header(IF_MATCH), method, route.binding) if IF_MATCH in exchange.headers else ""
        if method.upload_field:
            await self._upload(exchange, route, values, call)
            return
        if method.streams_requests and method.streams_responses:
            limits = {"most_body": self._max_body, "most_file": self._max_upload}
            await answer_file(exchange, self._calls, route, values, call, **limits)
            return
        fields = taken_fields(exchange)
        request, size = await self._request(exchange, route, values)
        if etag:
            set_etag(request, etag, method, route.binding)
        assert call.principal is not None
        await self._calls.admit(method, request, call.principal, size=size)
        mask = None if fields is None else mask_for(method, fields)
        if method.path in eligible() and (preference := preferred(exchange.header(b"prefer"))) is not None:
            await self._answer_later(exchange, method, request, call.principal, preference)
        elif method.streams_responses:
            upstream = self._calls.start(method, _resumed(request, exchange).SerializeToString())
            await (answer_raw if method.raw_response else answer_messages)(exchange, method, upstream)
        elif method.streams_requests:
            response = await exchange.unless_gone(self._calls.answer_stream(method, _once(request)))
            await _send(exchange, method, response, mask)
        elif method.home == "gateway":
            call.gone = exchange.gone  # watched by what takes long; a quick call would take longer for it
            await _send(exchange, method, await self._calls.answer(method, request), mask)
        else:
            await _send(exchange, method, await exchange.unless_gone(self._calls.answer(method, request)), mask)

    async def _answer_later(
        self, exchange: Exchange, method: Method, request: Message, principal: Principal, preference: Preference
    ) -> None:
        """202 with an operation; where the call ends within the time that its caller would wait, its own answer."""
        operation = await self._operations.start(method, request, principal)
        if preference.wait:
            operation = await exchange.unless_gone(self._operations.await_end(operation.name, preference.wait))
        headers = [(b"preference-applied", preference.applied)]
        if operation.status is not None:
            raise from_status(Status.FromString(operation.status))
        if operation.response is not None:
            content, own = _json(method, operation.response)
            await exchange.answer(content, headers=[*headers, *own])
            return
        headers += [(b"location", f"/v1/{operation.name}".encode()), (b"retry-after", b"1")]
        await exchange.answer(to_json(self._operations.proto(operation)), status=202, headers=headers)

    async def _request(self, exchange: Exchange, route: Route, values: Mapping[str, str]) -> tuple[Message, int]:
        body = await exchange.body(self._max_body)
        if len(body) > _BIG_BYTES:
            return await asyncio.to_thread(read_request, route, values, exchange.query, body), len(body)
        return read_request(route, values, exchange.query, body), len(body)

    async def _upload(self, exchange: Exchange, route: Route, values: Mapping[str, str], call: Call) -> None:
        method = route.method
        if exchange.header(b"content-type").startswith("multipart/"):
            raise InvalidField("content-type", "is a form: send the file itself as the body (curl --data-binary @file).")
        fields = taken_fields(exchange)
        mask = None if fields is None else mask_for(method, fields)
        first = read_upload(route, values, exchange.query, content=method.upload_field)
        assert call.principal is not None
        await self._calls.admit(method, first, call.principal, size=0)
        messages = _upload_messages(method, first, exchange.chunks(self._max_upload, "The file"))
        await _send(exchange, method, await self._calls.answer_stream(method, messages), mask)


def arrival(exchange: Exchange, route: Route) -> tracing.Arrived:
    """What a trace tells of a request."""
    attributes = {
        "http.request.method": exchange.verb, "http.route": route.binding.template, "url.path": exchange.raw_path,
        "url.scheme": exchange.scheme,
    }  # fmt: skip
    headers = {name: value for name in tracing.HEADERS if (value := exchange.header(name.encode()))}
    return tracing.Arrived(name=f"{exchange.verb} {route.binding.template}", attributes=attributes, headers=headers)


async def _upload_messages(method: Method, first: Message, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The fields, then the content in messages of at most `CHUNK_BYTES`; one message is held at a time."""
    yield first.SerializeToString()
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _FULL_BYTES:
            yield method.request(**{method.upload_field: bytes(waiting[:CHUNK_BYTES])}).SerializeToString()
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield method.request(**{method.upload_field: bytes(waiting)}).SerializeToString()


def _named_in(values: Mapping[str, str]) -> str:
    """The resource that a path names."""
    return next(iter(values.values()), "")


async def _once(request: Message) -> AsyncIterator[bytes]:
    yield request.SerializeToString()


async def _send(exchange: Exchange, method: Method, response: Message | bytes, mask: ReadMask | None = None) -> None:
    size = response.ByteSize() if isinstance(response, Message) else len(response)
    big = size > _BIG_BYTES
    content, headers = await asyncio.to_thread(_json, method, response, mask) if big else _json(method, response, mask)
    worth = WORTH_QUICK_BYTES if method.path == _PREDICT else WORTH_BYTES
    await exchange.answer(content, headers=headers, worth_bytes=worth)


def _json(method: Method, response: Message | bytes, mask: ReadMask | None = None) -> tuple[bytes, Headers]:
    """The body of an answer, and the headers that are made of it."""
    message = response if isinstance(response, Message) else method.response.FromString(response)
    headers = etag_header(message) if method.path in tagged() else []
    if mask is None:
        return to_json(message), headers
    mask.keep(message)
    return to_json(message, sparse=True), headers


def _resumed(request: Any, exchange: Exchange) -> Any:
    """A browser that lost a stream of server-sent events says where it was: go on from there."""
    last = exchange.header(b"last-event-id")
    if last.isdigit() and len(last) < 19 and "after_sequence" in request.DESCRIPTOR.fields_by_name:
        request.after_sequence = max(request.after_sequence, int(last))
    return request


async def _fail_without_route(exchange: Exchange, allowed: tuple[str, ...], problem: str) -> None:
    if allowed:
        await exchange.fail(VerbNotAllowed(problem), status=405, headers=[(b"allow", ", ".join(allowed).encode())])
        return
    error = NotFound("call", f"{exchange.verb} {exchange.raw_path[:200]}")
    error.args, error.message = (problem,), problem
    await exchange.fail(error)
