"""How a service calls another: a channel that says who calls, gives up in time, tries again, and raises Regrow's errors.

    channel = internal_channel(settings.registry_address, token=token, service="registry")
    model = ModelServiceStub(channel).GetModel(request)          # raises NotFound, EngineUnavailable, ...

Calls carry the request id and the trace of the call that they are made for, and end when that one's caller gives up.
UNAVAILABLE is tried up to four times, which is safe because creates carry a request_id. The gateway, which is asyncio, uses
`aio_internal_channel` and awaits inside `with calling("registry"):`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import grpc

from services.common import tracing
from services.common.rpc.credentials import aio_channel, channel
from services.common.rpc.principal import (
    TOKEN_KEY,
    Metadata,
    Principal,
    call_metadata,
    current_request_id,
    new_request_id,
    seconds_left,
    service_principal,
)
from services.common.rpc.server import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from services.common.rpc.status import calling, from_rpc_error
from services.common.tls import CertificateFiles

__all__ = ["aio_internal_channel", "call_metadata", "calling", "internal_channel"]

Caller = Principal | Callable[[], Principal]

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 3600.0
# So that an inner call ends, and its error arrives, before the outer caller has gone.
_MARGIN_SECONDS = 0.05

RETRY_UNAVAILABLE: dict[str, Any] = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2.5,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # Half of the last calls failing stops retries: a service that is down isn't hit fourfold.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
}


def internal_channel(
    address: str,
    *,
    token: str,
    principal: Caller | None = None,
    service: str = "",
    timeout: float = TIMEOUT_SECONDS,
    stream_timeout: float = STREAM_TIMEOUT_SECONDS,
    service_config: dict[str, Any] | None = None,
    certificate: CertificateFiles | None = None,
) -> grpc.Channel:
    """A channel for stubs, to keep and share between threads; connects by itself, again and again.

    `principal` is who calls (default: a service); with `principal=current_principal` each call is made for whoever called
    the handler that makes it. `service` names the other side in errors. Calls that end with one response take `timeout`
    seconds at most, streams `stream_timeout`, unless the call says `timeout=`. With a `certificate`, calls go over TLS and show
    it. Every error is a `RegrowError`.
    """
    caller = principal or service_principal("internal")
    manner = _Manner(
        token=token, caller=caller, timeout=timeout, stream_timeout=stream_timeout, server=_server(service, address)
    )
    return grpc.intercept_channel(channel(address, _options(service_config), certificate), _Calls(manner, service))


def aio_internal_channel(
    address: str,
    token: str,
    *,
    principal: Caller | None = None,
    timeout: float = TIMEOUT_SECONDS,
    stream_timeout: float = STREAM_TIMEOUT_SECONDS,
    service_config: dict[str, Any] | None = None,
    certificate: CertificateFiles | None = None,
) -> grpc.aio.Channel:
    """The asyncio twin. A call without `call_metadata` of its own is made for `principal`.

    Errors stay `grpc.aio.AioRpcError`, for a proxy passes their bytes on: see `calling` and `status.status_of`.
    """
    caller = principal or service_principal("gateway")
    manner = _Manner(token=token, caller=caller, timeout=timeout, stream_timeout=stream_timeout, server=_server("", address))
    return cast(grpc.aio.Channel, _AioChannel(aio_channel(address, _options(service_config), certificate), manner))


def _options(service_config: dict[str, Any] | None) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.enable_retries", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.service_config", json.dumps(RETRY_UNAVAILABLE if service_config is None else service_config)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    """What a channel adds to each call."""

    token: str
    caller: Caller
    timeout: float
    stream_timeout: float
    server: Mapping[str, str]

    def metadata(self, own: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
        """The call's own, and who calls where that doesn't say so."""
        said = cast(Metadata, tuple(own or ()))
        if any(key == TOKEN_KEY for key, _ in said):
            return said
        caller = self.caller if isinstance(self.caller, Principal) else self.caller()
        return said + call_metadata(caller, self.token, current_request_id() or new_request_id())

    def seconds(self, asked: float | None, *, streams: bool) -> float:
        """The call's time, and no more than the caller of the handler that makes it has left."""
        wanted = asked if asked is not None else self.stream_timeout if streams else self.timeout
        left = seconds_left()
        return wanted if left is None else max(0.001, min(wanted, left - _MARGIN_SECONDS))


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Metadata
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Calls(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # these are generic in the stubs only
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Completes each call's details and makes Regrow's errors of its failures."""

    def __init__(self, manner: _Manner, service: str) -> None:
        self._manner = manner
        self._service = service

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """One request, one response."""
        return self._called(continuation, client_call_details, request, streams=False)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """One request, many responses."""
        return self._called(continuation, client_call_details, request, streams=True)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Many requests, one response."""
        return self._called(continuation, client_call_details, request_iterator, streams=True)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Many requests, many responses."""
        return self._called(continuation, client_call_details, request_iterator, streams=True)

    def _called(self, continuation: Any, details: Any, request: Any, *, streams: bool) -> _Outcome:
        span = tracing.begin_call(_plain(details.method), self._manner.server) if tracing.is_on() else None
        completed = _Details(
            method=details.method,
            timeout=self._manner.seconds(details.timeout, streams=streams),
            metadata=self._manner.metadata(details.metadata) + (() if span is None else span.headers),
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=getattr(details, "compression", None),
        )
        outcome = continuation(completed, request)
        if span is not None:
            _end_with(span, outcome)
        return _Outcome(outcome, self._service)


class _Outcome:
    """gRPC's call, future and response iterator in one, as it was, but failing with Regrow's errors."""

    def __init__(self, outcome: Any, service: str) -> None:
        self._outcome = outcome
        self._service = service

    def result(self, timeout: float | None = None) -> Any:
        """The response of a call that has one."""
        with calling(self._service):
            return self._outcome.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise."""
        error: BaseException | None = self._outcome.exception(timeout)
        return from_rpc_error(error, self._service) if isinstance(error, grpc.RpcError) else error

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with calling(self._service):
            return next(self._outcome)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outcome, name)


class _AioChannel:
    """An asyncio channel that adds its manner to each call. Not by interceptors: those cost a task per call."""

    def __init__(self, channel: grpc.aio.Channel, manner: _Manner) -> None:
        self._channel: Any = channel
        self._manner = manner

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A stub's method of this kind."""
        return self._completing(self._channel.unary_unary, args, kwargs, streams=False)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """A stub's method of this kind."""
        return self._completing(self._channel.unary_stream, args, kwargs, streams=True)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A stub's method of this kind."""
        return self._completing(self._channel.stream_unary, args, kwargs, streams=True)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """A stub's method of this kind."""
        return self._completing(self._channel.stream_stream, args, kwargs, streams=True)

    async def __aenter__(self) -> _AioChannel:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._channel.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def _completing(self, make: Callable[..., Any], args: Any, kwargs: Any, *, streams: bool) -> Callable[..., Any]:
        inner, method = make(*args, **kwargs), _plain(args[0] if args else kwargs["method"])

        def call(request: Any = None, *, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
            seconds, complete = self._manner.seconds(timeout, streams=streams), self._manner.metadata(metadata)
            span = tracing.begin_call(method, self._manner.server) if tracing.is_on() else None
            if span is None:
                return inner(request, timeout=seconds, metadata=complete, **options)
            begun = inner(request, timeout=seconds, metadata=complete + span.headers, **options)
            begun.add_done_callback(lambda done: _end_soon(span, done))
            return begun

        return call


def _end_with(span: tracing.Span, outcome: Any) -> None:
    """Ends the span with the call: now where that is over, as calls with one response are, else when its stream ends."""

    def ended() -> None:
        code = outcome.code()
        span.answered(code.name, fault=code is not grpc.StatusCode.OK)

    try:
        goes_on = outcome.add_callback(ended)
    except NotImplementedError:  # gRPC's error of a call that failed is a call, too, but can do nothing
        goes_on = False
    if not goes_on:
        ended()


_ending: set[asyncio.Task[None]] = set()


def _end_soon(span: tracing.Span, call: Any) -> None:
    """An asyncio call that is over tells its status to a coroutine only."""
    task = asyncio.ensure_future(_end_with_aio(span, call))
    _ending.add(task)
    task.add_done_callback(_ending.discard)


async def _end_with_aio(span: tracing.Span, call: Any) -> None:
    code = await call.code()
    span.answered(code.name, fault=code is not grpc.StatusCode.OK)


def _plain(method: str | bytes) -> str:
    return (method.decode() if isinstance(method, bytes) else method).lstrip("/")


def _server(service: str, address: str) -> Mapping[str, str]:
    return {"server.address": address.rpartition(":")[0] or address, **({"service.peer.name": service} if service else {})}
