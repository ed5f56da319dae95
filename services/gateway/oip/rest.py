"""The protocol over REST, with Triton's binary tensors and its calls about models, and with feedback.

Errors are `{"error": "..."}`, as the protocol has them.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from regrow.gateway.v1 import gateway_pb2
from services.common import tracing
from services.common.errors import InvalidField, RegrowError, TooLarge
from services.common.rpc.principal import Call
from services.common.rpc.status import http_status, to_status
from services.gateway.calls import ClientGone
from services.gateway.compressing import WORTH_QUICK_BYTES
from services.gateway.conditions import IF_MATCH, wanted_etag
from services.gateway.http import JSON, Exchange, hints
from services.gateway.json_reading import append, fields_of
from services.gateway.methods import public_methods
from services.gateway.oip import http_messages, names
from services.gateway.oip.door import Door
from services.gateway.oip.methods import FEEDBACK, INFER, inference_methods
from services.gateway.rest import arrival
from services.gateway.routes import Route, Router
from services.gateway.transcoding import not_found

HEADER_LENGTH = b"inference-header-content-length"
_FEEDBACK = public_methods()["/regrow.gateway.v1.FeedbackService/BatchSendFeedback"]
_OCTETS = b"application/octet-stream"
_COMPRESSED = ("gzip", "deflate")
_BIG_BYTES = 64 << 10


class InferenceRest:
    """An ASGI application for everything under `/v2`."""

    def __init__(self, door: Door, *, max_body_bytes: int) -> None:
        self._door = door
        self._max_body = max_body_bytes
        self._router = Router(inference_methods().values())
        self._router.add(_FEEDBACK, FEEDBACK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; nothing is raised."""
        exchange = Exchange(scope, receive, send)
        try:
            found = self._router.find(exchange.verb, exchange.raw_path.rstrip("/"))
            if found.route is None:
                problem = not_found(found, exchange.verb, exchange.raw_path[:200])
                status, headers = (405, [(b"allow", ", ".join(found.allowed).encode())]) if found.allowed else (404, [])
                await exchange.answer(_error(problem), status=status, headers=headers)
                return
            method = found.route.method
            if IF_MATCH in exchange.headers:
                wanted_etag(exchange.header(IF_MATCH), method, found.route.binding)
            arrived = arrival(exchange, found.route) if tracing.is_on() else None
            with self._door.calls.opened(method, exchange.request_id, None, arrived) as call:
                call.peer = exchange.peer
                exchange.also = await self._door.authenticate(method, call, exchange.header(b"authorization"))
                if method.path == INFER:
                    await self._infer(exchange, call, found.values)
                elif method is _FEEDBACK:
                    await self._feedback(exchange, call, found.values)
                else:
                    await self._answer(exchange, call, found.route, found.values)
        except ClientGone:
            return
        except RegrowError as error:
            if not exchange.started:
                told = to_status(error, exchange.request_id)
                await exchange.answer(_error(told.message), status=http_status(told), headers=hints(error))

    async def _infer(self, exchange: Exchange, call: Call, values: Mapping[str, str]) -> None:
        body = await _body(exchange, self._max_body)
        given = values["name"], values.get("version", ""), body, exchange.header(HEADER_LENGTH)
        big = len(body) > _BIG_BYTES
        asked = await asyncio.to_thread(http_messages.read, *given) if big else http_messages.read(*given)
        made = await self._door.infer(call, asked)
        content, length = await asyncio.to_thread(http_messages.write, asked, made) if big else http_messages.write(asked, made)
        await _send(exchange, content, length)

    async def _answer(self, exchange: Exchange, call: Call, route: Route, values: Mapping[str, str]) -> None:
        method = route.method
        request = method.request()
        if route.binding.verb == "POST" and method.path in _PARAMETERS:
            _fill(request, http_messages.parse(await exchange.body(self._max_body) or b"{}"), values)
        for name, value in values.items():
            if name in request.DESCRIPTOR.fields_by_name:
                setattr(request, name, value)
        response = await self._door.answer(method, call, request)
        status = 503 if "ready" in response.DESCRIPTOR.fields_by_name and not response.ready else 200  # type: ignore[attr-defined]
        await exchange.answer(orjson.dumps(_SHAPES.get(method.name, _same)(plain(response))), status=status)

    async def _feedback(self, exchange: Exchange, call: Call, values: Mapping[str, str]) -> None:
        """Commits one piece of feedback, or `{"feedback": [...]}`, as `BatchSendFeedback` does."""
        body = await exchange.body(self._max_body)
        sent = http_messages.parse(body)
        request = gateway_pb2.BatchSendFeedbackRequest(parent=names.read(values["name"], "").model)
        field = fields_of(request.DESCRIPTOR)["feedback"]
        many = sent.get("feedback") if set(sent) == {"feedback"} else [sent]
        if not isinstance(many, list):
            raise InvalidField("feedback", "must be a JSON array of feedback.")
        for index, one in enumerate(many):
            append(one, request, field, f"feedback[{index}]")
        assert call.principal is not None
        await self._door.calls.admit(_FEEDBACK, request, call.principal, size=len(body))
        response = await self._door.calls.answer(_FEEDBACK, request)
        assert isinstance(response, gateway_pb2.BatchSendFeedbackResponse)
        await exchange.answer(orjson.dumps({"event_ids": list(response.event_ids)}))


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON in the protocol's style: original names, whole numbers as numbers, everything there."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is None:
            if field.enum_type is not None:
                value = field.enum_type.values_by_number[value].name
            found[field.name] = list(value) if field.is_repeated else value
        elif field.message_type.GetOptions().map_entry:
            found[field.name] = {key: plain(one) for key, one in value.items()}
        elif field.is_repeated:
            found[field.name] = [plain(one) for one in value]
        elif message.HasField(field.name):
            found[field.name] = plain(value)
    return found


def _same(found: dict[str, Any]) -> object:
    return found


_SHAPES: dict[str, Callable[[dict[str, Any]], object]] = {
    "ServerReady": lambda found: {**found, "live": True},  # the protocol says live here, KServe's client reads ready
    "ModelConfig": lambda found: found["config"],
    "RepositoryIndex": lambda found: found["models"],
}
"""Where REST's answer isn't the message as it is."""

_PARAMETERS = {
    f"/inference.GRPCInferenceService/{name}" for name in ("RepositoryModelLoad", "RepositoryModelUnload", "RepositoryIndex")
}
"""Calls whose body is read: what others are sent means nothing."""


def _fill(request: Any, sent: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """`ready` of an index, and the parameters of a load, which are plain values."""
    if "ready" in request.DESCRIPTOR.fields_by_name:
        request.ready = sent.get("ready") is True
        return
    parameters = sent.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidField("parameters", "must be a JSON object.")
    for name, value in parameters.items():
        kind = {str: "string_param", bool: "bool_param", int: "int64_param"}.get(type(value))
        if kind is None:
            raise InvalidField(f"parameters.{name[:80]}", "must be a string, a whole number, true or false.")
        try:
            setattr(request.parameters[name], kind, value)
        except ValueError:
            raise InvalidField(f"parameters.{name[:80]}", "is too large.") from None


async def _body(exchange: Exchange, limit: int) -> bytes:
    """The body, decompressed: no more than `limit` bytes either way. Raises `InvalidField`, `TooLarge`."""
    encoding = exchange.header(b"content-encoding")
    if encoding not in _COMPRESSED:
        return await exchange.body(limit)
    body = await exchange.body(limit, may_be_compressed=True)
    return await asyncio.to_thread(_inflated, body, limit)


def _inflated(body: bytes, limit: int) -> bytes:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either, by its first bytes
    try:
        content = reader.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidField("body", "isn't compressed as its content-encoding says.") from None
    if len(content) > limit:
        raise TooLarge("The body, decompressed,", limit=f"{limit:,} bytes")
    if not reader.eof:
        raise InvalidField("body", "ends in the middle of what is compressed.")
    return content


async def _send(exchange: Exchange, content: bytes, length: int) -> None:
    headers = [(HEADER_LENGTH, b"%d" % length)] if length else []
    kind = _OCTETS if length else JSON
    await exchange.answer(content, content_type=kind, headers=headers, worth_bytes=WORTH_QUICK_BYTES)


def _error(problem: str) -> bytes:
    return orjson.dumps({"error": problem})
