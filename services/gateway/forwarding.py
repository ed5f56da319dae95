"""The public calls over gRPC: the same keys, the same rules, the bytes passed on as they came.

Generic handlers are made from `methods`, so what has no REST annotation isn't reachable here either. Health and reflection
are the only others, and need no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_status import rpc_status

from services.common import tracing
from services.common.errors import RegrowError
from services.common.rpc.principal import REQUEST_ID_KEY, Call, as_mapping, request_id_from
from services.common.rpc.reflecting import enable_reflection
from services.common.rpc.server import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from services.common.rpc.status import to_status
from services.gateway.audit.handlers import named_in
from services.gateway.calls import Calls, stopping
from services.gateway.methods import Method, public_methods, public_services
from services.gateway.partial import FIELDS_KEY, mask_for, masked

_A_YEAR = 365 * 86400.0
_SETTLE_SECONDS = 0.02
"""A cancelled call's messages end a moment before the call does: it must not pass for complete."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 0),
    # Calls that came faster than they were begun. gRPC drops beyond, at random from the first bound on, as CANCELLED, without a
    # word; its own bounds of 1,000 and 3,000 are met by a burst that this server answers within a second.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class OtherService(NamedTuple):
    """A service beside the public ones, with the descriptor pool of its messages."""

    name: str
    handlers: Any
    pool: DescriptorPool


def make_server(calls: Calls, others: Sequence[OtherService] = ()) -> tuple[grpc.aio.Server, HealthServicer]:
    """A server with every public call, and with `others`; the caller adds a port and starts it."""
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers(tuple(one.handlers for one in others))
    for service in public_services():
        handlers = {method.name: _handler(calls, method) for method in public_methods().values() if method.service == service}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (*public_services(), *(one.name for one in others))
    enable_reflection(server, names, pools=[one.pool for one in others])
    return server, servicer


def _handler(calls: Calls, method: Method) -> Any:
    if method.streams_requests and method.streams_responses:
        return grpc.stream_stream_rpc_method_handler(_stream_stream(calls, method))
    if method.streams_requests:
        return grpc.stream_unary_rpc_method_handler(_stream_unary(calls, method))
    if method.streams_responses:
        return grpc.unary_stream_rpc_method_handler(_unary_stream(calls, method))
    return grpc.unary_unary_rpc_method_handler(_unary_unary(calls, method))


def _unary_unary(calls: Calls, method: Method) -> Callable[..., Any]:
    async def answer(content: bytes, context: Any) -> bytes:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                request = await _admitted(calls, method, call, authorization, content)
                mask = mask_for(method, fields) if (fields := _fields(context)) else None
                response = await calls.answer(method, request, content)
                if mask is not None:
                    response = masked(method, response, mask)
                return response.SerializeToString() if isinstance(response, Message) else response
        except RegrowError as error:
            await abort(context, error, request_id)
            return b""

    return answer


def _unary_stream(calls: Calls, method: Method) -> Callable[..., Any]:
    async def answer(content: bytes, context: Any) -> AsyncIterator[bytes]:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                await _admitted(calls, method, call, authorization, content)
                upstream = calls.start(method, content)
                try:
                    async for message in upstream:
                        yield message
                except asyncio.CancelledError:
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise
                    raise stopping() from None
                finally:
                    upstream.cancel()
        except RegrowError as error:
            await abort(context, error, request_id)

    return answer


def _stream_unary(calls: Calls, method: Method) -> Callable[..., Any]:
    async def answer(contents: AsyncIterator[bytes], context: Any) -> bytes:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                await calls.authenticate(method, call, authorization)
                mask = mask_for(method, fields) if (fields := _fields(context)) else None
                response = await calls.answer_stream(method, _each_admitted(calls, method, call, contents))
                return response if mask is None else masked(method, response, mask).SerializeToString()
        except RegrowError as error:
            await abort(context, error, request_id)
            return b""

    return answer


def _stream_stream(calls: Calls, method: Method) -> Callable[..., Any]:
    async def answer(contents: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                await calls.authenticate(method, call, authorization)
                requests = _each_request(calls, method, call, contents)
                async for message in calls.local_stream(method).messages(requests):
                    yield message.SerializeToString()
        except RegrowError as error:
            await abort(context, error, request_id)

    return answer


def _fields(context: Any) -> str:
    """What the caller asks for of the answer; empty for all of it."""
    return next((value for key, value in context.invocation_metadata() or () if key == FIELDS_KEY), "")


async def _admitted(calls: Calls, method: Method, call: Call, authorization: str, content: bytes) -> Message:
    try:
        principal = await calls.authenticate(method, call, authorization)
    except RegrowError:
        call.about = partial(named_in, method, content)
        raise
    request = await calls.decode(method, content)
    await calls.admit(method, request, principal, size=len(content))
    return request


async def _each_admitted(calls: Calls, method: Method, call: Call, contents: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages as they came, each after it was admitted."""
    first = True
    async for content in contents:
        await _admit(calls, method, call, content, first)
        first = False
        yield content
    await asyncio.sleep(_SETTLE_SECONDS)


async def _each_request(calls: Calls, method: Method, call: Call, contents: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    """As `_each_admitted`, decoded."""
    first = True
    async for content in contents:
        yield await _admit(calls, method, call, content, first)
        first = False
    await asyncio.sleep(_SETTLE_SECONDS)


async def _admit(calls: Calls, method: Method, call: Call, content: bytes, first: bool) -> Message:
    request = await calls.decode(method, content)
    if call.principal is not None:
        size = 0 if method.upload_field else len(content)
        await calls.admit(method, request, call.principal, size=size, may_omit=not first)
    return request


def begin(method: Method, context: Any) -> tuple[str, str, float | None, tracing.Arrived | None]:
    """The request id (sent back in the trailers), the authorization, the seconds that the caller waits, and its trace."""
    metadata = as_mapping(context.invocation_metadata())
    request_id = request_id_from(metadata)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    authorization = metadata.get("authorization", "")
    left: float | None = context.time_remaining()
    if left is not None and left > _A_YEAR:
        left = None
    arrived = _arrived(method, metadata) if tracing.is_on() else None
    return request_id, authorization if isinstance(authorization, str) else "", left, arrived


def _arrived(method: Method, metadata: Mapping[str, str | bytes]) -> tracing.Arrived:
    headers = {name: value for name in tracing.HEADERS if isinstance(value := metadata.get(name), str)}
    return tracing.Arrived(name=method.path[1:], attributes={}, headers=headers)


async def abort(context: Any, error: RegrowError, request_id: str) -> None:
    """Ends a call with its error, as `google.rpc.Status`."""
    await context.abort_with_status(rpc_status.to_status(to_status(error, request_id)))
