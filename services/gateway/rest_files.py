"""Calls that stream both ways, over REST: the body is JSON, JSON lines or CSV by its content type; a sum or lines come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.common.rpc.principal import Call
from services.gateway.calls import Calls
from services.gateway.feedback.files import KINDS
from services.gateway.feedback.stream import total
from services.gateway.http import Exchange
from services.gateway.rest_streams import LINES, answer_lines
from services.gateway.routes import Route
from services.gateway.transcoding import read_request, read_upload, to_json


async def answer_file(
    exchange: Exchange, calls: Calls, route: Route, values: Mapping[str, str], call: Call, *, most_body: int, most_file: int
) -> None:
    """Answers the call. Raises `RegrowError` where nothing was sent yet."""
    assert call.principal is not None
    answers = await _answers(exchange, calls, route, values, call, most_body, most_file)
    if LINES.decode() in exchange.header(b"accept"):
        await answer_lines(exchange, route.method, answers)
    else:
        await exchange.answer(to_json(await total(answers)))


async def _answers(
    exchange: Exchange, calls: Calls, route: Route, values: Mapping[str, str], call: Call, most_body: int, most_file: int
) -> AsyncIterator[Any]:
    assert call.principal is not None
    kind = exchange.header(b"content-type").partition(";")[0].strip().lower()
    method, stream = route.method, calls.local_stream(route.method)
    if kind == "application/json":
        body = await exchange.body(most_body)
        request = read_request(route, values, exchange.query, body)
        await calls.admit(method, request, call.principal, size=len(body))
        return stream.messages(_one(request))
    if kind not in KINDS:
        raise InvalidField("content-type", f"'{kind[:80]}' isn't one of: application/json, {', '.join(KINDS)}.")
    exchange.refuse_compressed()
    first = read_upload(route, values, exchange.query, content=_content(route))
    await calls.admit(method, first, call.principal, size=0)
    return stream.file(first, KINDS[kind], exchange.chunks(most_file, "The file"))


def _content(route: Route) -> str:
    """The field that the file's lines are, which the query can't give."""
    return next(field.name for field in route.method.request.DESCRIPTOR.fields if field.is_repeated and field.message_type)


async def _one(request: Message) -> AsyncIterator[Message]:
    yield request
