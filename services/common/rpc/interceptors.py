"""What happens around every call that a server takes, from the outside in:

1. `ErrorsAsStatus` opens the call (request id, deadline) and turns whatever is raised into a rich status. Being the
   outermost, it also sees what the other two raise; no text of an unknown exception gets past it.
2. `Observed` writes one log line, counts the call, and gives it a span where it is traced.
3. `PrincipalRequired` refuses calls without the internal token and makes the forwarded principal current.

Each is a block around the handler, entered when the call starts and left when its last response is out, so unary and
streaming handlers, in both directions, are treated alike. Health and reflection pass through untouched: probes have no
token, and the health service's non-blocking handlers mustn't be wrapped.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from services.common import tracing
from services.common.errors import RegrowError
from services.common.rpc import principal, status
from services.common.telemetry import RUNNING, record

UNGUARDED = ("/grpc.health.v1.Health/", "/grpc.reflection.")
# A year: gRPC hands "no deadline" over as a time far ahead.
_FOREVER_SECONDS = 365 * 86400.0
# A call that has waited for its engine is over: tried again by the caller's channel, it would wait four times as long.
# https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
_TRIED_ENOUGH = ("grpc-retry-pushback-ms", "-1")
_WAITED_SECONDS = 1.0

Around = Callable[[str, grpc.ServicerContext], AbstractContextManager[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ending(grpc.Status):
    """How a call ends."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


class _Block(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Runs the handler inside `self.around(method, context)`."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler that gRPC found, if it found one."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(UNGUARDED):
            return handler
        return _wrapped(handler, self.around, handler_call_details.method.lstrip("/"))

    @abstractmethod
    def around(self, method: str, context: grpc.ServicerContext) -> AbstractContextManager[None]:
        """The block. `method` is `package.Service/Method`."""


class ErrorsAsStatus(_Block):
    """Opens the call and ends it with a status that says what was wrong, and nothing that shouldn't leave the house."""

    @contextmanager
    def around(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        """Raises only what ends the call."""
        begun = time.monotonic()
        request_id = principal.request_id_from(principal.as_mapping(context.invocation_metadata()))
        with principal.entered(principal.Call(request_id=request_id, deadline=_deadline(context))):
            try:
                yield
            except GeneratorExit:
                raise  # the caller left in the middle of a stream
            except BaseException as error:
                if _is_grpcs_own(error, context):
                    raise
                told = rpc_status.to_status(status.to_status(status.known(error, place=method), request_id))
                if told.code is grpc.StatusCode.UNAVAILABLE and time.monotonic() - begun > _WAITED_SECONDS:
                    told = _Ending(told.code, told.details, (*told.trailing_metadata, _TRIED_ENOUGH))
                context.abort_with_status(told)


class Observed(_Block):
    """Logs and counts each call under the service's name."""

    def __init__(self, service: str) -> None:
        self._service = service

    @contextmanager
    def around(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        """Lets everything through."""
        began = time.perf_counter()
        code, reason = grpc.StatusCode.OK, ""
        RUNNING.labels(self._service).inc()
        span = _begin_span(method, context) if tracing.is_on() else None
        try:
            yield
        except BaseException as error:
            code, reason = _code(error, context), getattr(error, "reason", "")
            raise
        finally:
            seconds = time.perf_counter() - began
            RUNNING.labels(self._service).dec()
            record(self._service, method, code.name, seconds)
            _write_line(method, code, reason, seconds)
            if span is not None:
                span.answered(code.name, reason)


class PrincipalRequired(_Block):
    """Lets in who has the internal token."""

    def __init__(self, token: str) -> None:
        self._token = token

    @contextmanager
    def around(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        """Raises `Unauthenticated`."""
        caller = principal.authenticate(principal.as_mapping(context.invocation_metadata()), self._token)
        if (call := principal.current_call()) is not None:
            call.principal = caller
        yield


def _wrapped(handler: Any, around: Around, method: str) -> grpc.RpcMethodHandler[Any, Any]:
    """The same handler of the same kind, inside the block."""
    codecs = {"request_deserializer": handler.request_deserializer, "response_serializer": handler.response_serializer}
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    behavior: Callable[[Any, grpc.ServicerContext], Any] = getattr(handler, kind)

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        with around(method, context):
            return behavior(request, context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with around(method, context):
            yield from behavior(request, context)

    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(stream if handler.response_streaming else answer, **codecs)


def _is_grpcs_own(error: BaseException, context: grpc.ServicerContext) -> bool:
    """Whether gRPC itself raised it: a handler called `context.abort`, or the caller left while its stream was read."""
    if type(error) is grpc.RpcError and not error.args:
        return True
    return type(error) is Exception and not error.args and _set_code(context) not in (None, grpc.StatusCode.OK)


def _code(error: BaseException, context: grpc.ServicerContext) -> grpc.StatusCode:
    if isinstance(error, GeneratorExit) or type(error) is grpc.RpcError:
        return grpc.StatusCode.CANCELLED
    if isinstance(error, RegrowError):
        return status.code_of(error)
    if _is_grpcs_own(error, context):
        return _set_code(context) or grpc.StatusCode.UNKNOWN
    return grpc.StatusCode.INTERNAL


def _set_code(context: Any) -> grpc.StatusCode | None:
    code: grpc.StatusCode | None = context.code()
    return code


def _begin_span(method: str, context: grpc.ServicerContext) -> tracing.Span | None:
    sent = principal.as_mapping(context.invocation_metadata())
    headers = {name: value for name in tracing.HEADERS if isinstance(value := sent.get(name), str)}
    span = tracing.begin_serving(tracing.Arrived(name=method, attributes={}, headers=headers), method)
    if (call := principal.current_call()) is not None:
        call.span = span
    return span


def _deadline(context: grpc.ServicerContext) -> float | None:
    left: float | None = context.time_remaining()
    return None if left is None or left > _FOREVER_SECONDS else time.monotonic() + left


def _write_line(method: str, code: grpc.StatusCode, reason: str, seconds: float) -> None:
    call = principal.current_call()
    who = call.principal.key_id if call is not None and call.principal is not None else ""
    write = log.error if status.HTTP_STATUS[code] >= 500 and code is not grpc.StatusCode.UNAVAILABLE else log.info
    write("rpc", method=method, code=code.name, reason=reason, seconds=round(seconds, 4), key_id=who)
