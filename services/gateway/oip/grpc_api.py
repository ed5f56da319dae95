"""The protocol over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from services.common.errors import InvalidField, RegrowError
from services.common.rpc.principal import REQUEST_ID_KEY
from services.gateway.calls import ClientGone
from services.gateway.forwarding import OtherService, abort, begin
from services.gateway.inference.prediction import Answer
from services.gateway.methods import Method
from services.gateway.oip import grpc_messages
from services.gateway.oip.answering import MOST_IDS
from services.gateway.oip.door import Door
from services.gateway.oip.methods import INFER, SERVICE, STREAM, inference_methods
from services.gateway.oip.stubs import POOL, grpc_service_pb2

IDS_KEY, VERSION_KEY = "regrow-prediction-ids", "regrow-model-version"
"""Trailing metadata of ModelInfer."""

_INFER = inference_methods()[INFER]
_FINAL, _ASKS_FINAL = "triton_final_response", "triton_enable_empty_final_response"


def service(door: Door) -> OtherService:
    """Every call of the protocol, for a server."""
    made = {method.name: _handler(door, method) for method in inference_methods().values()}
    return OtherService(SERVICE, grpc.method_handlers_generic_handler(SERVICE, made), POOL)


def _handler(door: Door, method: Method) -> Any:
    if method.path == STREAM:
        return grpc.stream_stream_rpc_method_handler(_stream(door, method))
    return grpc.unary_unary_rpc_method_handler(_infer(door) if method.path == INFER else _unary(door, method))


def _unary(door: Door, method: Method) -> Callable[..., Any]:
    async def answer(content: bytes, context: Any) -> bytes:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with door.calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                await door.authenticate(method, call, authorization)
                return (await door.answer(method, call, _parsed(method, content))).SerializeToString()
        except RegrowError as error:
            await abort(context, error, request_id)
            return b""

    return answer


def _infer(door: Door) -> Callable[..., Any]:
    async def answer(content: bytes, context: Any) -> bytes:
        request_id, authorization, left, arrived = begin(_INFER, context)
        try:
            with door.calls.opened(_INFER, request_id, left, arrived) as call:
                call.peer = context.peer
                await door.calls.authenticate(_INFER, call, authorization)
                asked = grpc_messages.read(_parsed(_INFER, content), len(content))
                made = await door.infer(call, asked)
                response = grpc_messages.write(asked, made)
            context.set_trailing_metadata(((REQUEST_ID_KEY, request_id), *_trailers(made)))
        except RegrowError as error:
            await abort(context, error, request_id)
            return b""
        return response

    return answer


def _stream(door: Door, method: Method) -> Callable[..., Any]:
    async def answer(contents: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        request_id, authorization, left, arrived = begin(method, context)
        try:
            with door.calls.opened(method, request_id, left, arrived) as call:
                call.peer = context.peer
                await door.calls.authenticate(method, call, authorization)
                async for content in contents:
                    yield (await _one(door, content, request_id, authorization, context.peer)).SerializeToString()
        except RegrowError as error:
            await abort(context, error, request_id)

    return answer


async def _one(
    door: Door, sent: bytes, request_id: str, authorization: str, peer: Callable[[], str]
) -> grpc_service_pb2.ModelStreamInferResponse:
    """The answer to one request of a stream. It is a call of its own: authenticated, counted, with a deadline."""
    request = grpc_service_pb2.ModelInferRequest()
    try:
        with door.calls.opened(_INFER, request_id, None) as call:
            call.peer = peer
            await door.calls.authenticate(_INFER, call, authorization)
            request = _parsed(_INFER, sent)
            asked = grpc_messages.read(request, len(sent))
            content = grpc_messages.write(asked, await door.infer(call, asked))
    except ClientGone:
        raise
    except RegrowError as error:
        failed = grpc_service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
        return grpc_service_pb2.ModelStreamInferResponse(error_message=error.message, infer_response=failed)
    response = grpc_service_pb2.ModelInferResponse.FromString(content)
    if request.parameters and request.parameters[_ASKS_FINAL].bool_param:
        response.parameters[_FINAL].bool_param = True
    return grpc_service_pb2.ModelStreamInferResponse(infer_response=response)


def _parsed(method: Method, content: bytes) -> Any:
    try:
        message: Message = method.request.FromString(content)
    except DecodeError:
        raise InvalidField("request", f"isn't a {method.request.DESCRIPTOR.full_name}.") from None
    return message


def _trailers(made: Answer) -> tuple[tuple[str, str], ...]:
    version = (VERSION_KEY, made.loaded.target.name)
    return (version, (IDS_KEY, ",".join(made.ids))) if len(made.ids) <= MOST_IDS else (version,)
