"""What REST and gRPC have in common: every public call is opened, admitted and answered here, in this order.

opened    request id, deadline, metrics, one log line; errors of the tree come out, of anything else only an id
admitted  the key's role, the request's project and resource names, the rules written in the protos
answered  by this process (predictions, feedback, keys, status), or by the service that owns the call, for the same principal
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import grpc
import protovalidate
import structlog
from google.protobuf.message import DecodeError, Message
from prometheus_client import Counter, Histogram

from services.common import tracing
from services.common.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineUnavailable,
    FieldProblem,
    InvalidField,
    InvalidFields,
    RegrowError,
    Unauthenticated,
)
from services.common.rpc.principal import Call, Principal, current_call, entered
from services.common.rpc.status import HTTP_STATUS, code_of, known
from services.common.telemetry import REQUESTS, RUNNING, SECONDS
from services.gateway.audit.handlers import Audit
from services.gateway.audit.rules import REFUSALS, address_of
from services.gateway.audit.trail import Trail
from services.gateway.callers import Callers
from services.gateway.keys.ring import public_prefix
from services.gateway.methods import GATEWAY, Method, public_methods
from services.gateway.policy import RULES, check_request, check_role, project_in
from services.gateway.projects import Projects
from services.gateway.upstreams import Upstreams, pump, told

Local = Callable[[Any], Awaitable[Message]]


class LocalStream(Protocol):
    """A call that this process answers and that streams both ways, as messages or (over REST) as a file."""

    def messages(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The answers to messages that were admitted one by one."""
        ...

    def file(self, first: Any, kind: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """The answers to a file of the content type `kind`; `first` has the fields that aren't in it."""
        ...


_BIG_BYTES = 64 << 10
"""A message larger than this is decoded and checked in a thread, so that it doesn't hold up everybody else."""
_UNLOGGED = frozenset({
    "/regrow.gateway.v1.PredictionService/Predict", "/regrow.gateway.v1.FeedbackService/SendFeedback",
    "/regrow.gateway.v1.SystemService/GetStatus", "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ServerLive", "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
})  # fmt: skip
"""Calls that come by the thousand: counted, but logged only where they fail."""

_RATE = (b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset")
_BEFORE_SECONDS = 2.0
"""How long a change waits for what was before it."""
_ON_THE_WAY_SECONDS = 0.05
"""By so much sooner a deadline ends at the service behind."""
_NO_FAULT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED)
"""Codes of the server's side that no operator needs to look into."""

_ASK_NOBODY = ("labeling", "training")
"""Services that know names alone: that a project exists is checked for them. The registry knows by itself."""

log = structlog.get_logger()


class ClientGone(Cancelled):
    """The caller closed the connection; what was done for it ends."""

    reason = "CLIENT_GONE"


def stopping() -> EngineUnavailable:
    """What a caller hears whose stream was ended by `drain`."""
    return EngineUnavailable("gateway", "it is stopping")


class Calls:
    """Belongs to the event loop."""

    def __init__(
        self,
        callers: Callers,
        upstreams: Upstreams,
        local: Mapping[str, Local],
        projects: Projects,
        streams: Mapping[str, LocalStream],
        trail: Trail,
    ) -> None:
        self._callers = callers
        self._upstreams = upstreams
        self._local = dict(local)
        self._projects = projects
        self._local_streams = streams
        self._audit = Audit(trail, self._read)
        self._validator = protovalidate.Validator()
        self._streams: set[Any] = set()
        self._draining = False
        self.after: dict[str, Callable[[], None]] = {}
        """By path: what to do once a forwarded call went well (an alias that was set is looked up at once)."""

    @contextmanager
    def opened(
        self, method: Method, request_id: str, seconds_left: float | None, arrived: tracing.Arrived | None = None
    ) -> Iterator[Call]:
        """The block around a call. Raises only `RegrowError`, or what ends the task. `arrived` only where calls are traced."""
        began, outcome = time.perf_counter(), grpc.StatusCode.OK
        seconds = RULES[method.path].seconds
        limit = seconds if seconds_left is None else min(seconds, seconds_left)
        _running.inc()
        reason = ""
        span = None if arrived is None else tracing.begin_serving(arrived, method.path[1:])
        with entered(Call(request_id=request_id, deadline=time.monotonic() + limit, span=span)) as call:
            try:
                yield call
            except (asyncio.CancelledError, GeneratorExit):
                outcome, reason = grpc.StatusCode.CANCELLED, ClientGone.reason
                raise
            except Exception as error:
                failure = failure_of(error, method, seconds_left, time.perf_counter() - began)
                outcome, reason = code_of(failure), failure.reason
                if failure is error:
                    raise
                raise failure from error
            finally:
                _running.dec()
                _observe(method, call, outcome, reason, time.perf_counter() - began)
                if outcome is not grpc.StatusCode.OK:
                    self._audit.failed(method, RULES[method.path], call, outcome.name, reason)
                if span is not None and arrived is not None:
                    status = HTTP_STATUS[outcome] if "http.route" in arrived.attributes else 0
                    span.answered(outcome.name, reason, http_status=status)

    async def authenticate(self, method: Method, call: Call, authorization: str) -> Principal:
        """Raises `Unauthenticated`, `PermissionDenied`; `EngineUnavailable` where a token's issuer is down."""
        try:
            call.principal = await self._callers.principal(authorization)
        except Unauthenticated:
            call.key_prefix = public_prefix(authorization)
            raise
        check_role(RULES[method.path], call.principal)
        return call.principal

    def rate_headers(self, principal: Principal) -> list[tuple[bytes, bytes]]:
        """What a caller over REST hears of its rate, with every answer; nothing where it has none."""
        return rate_told(self._callers.standing(principal))

    async def admit(self, method: Method, request: Message, principal: Principal, *, size: int, may_omit: bool = False) -> None:
        """Raises `PermissionDenied`, `InvalidField`, `InvalidFields`; `NotFound` for a project that doesn't exist."""
        if not may_omit and (call := current_call()) is not None:
            call.request = request
        if size > _BIG_BYTES:
            await asyncio.to_thread(self._admit, method, request, principal, may_omit)
        else:
            self._admit(method, request, principal, may_omit)
        project = project_in(RULES[method.path], request) if method.home in _ASK_NOBODY and not may_omit else ""
        if project:
            await self._projects.check(project)

    async def decode(self, method: Method, content: bytes) -> Message:
        """Raises `InvalidField` for bytes that aren't the message."""
        try:
            if len(content) > _BIG_BYTES and not method.upload_field:
                return await asyncio.to_thread(method.request.FromString, content)
            return method.request.FromString(content)
        except DecodeError:
            raise InvalidField("request", f"isn't a {method.request.DESCRIPTOR.full_name}.") from None

    async def answer(self, method: Method, request: Message, content: bytes | None = None) -> Message | bytes:
        """A message where this process answers, bytes where another service did. A change is in the audit log by then."""
        if RULES[method.path].changes:
            return await self._changed(method, request, self._answered(method, request, content))
        return await self._answered(method, request, content)

    async def answer_stream(self, method: Method, messages: AsyncIterator[bytes]) -> bytes:
        """The answer to a stream of messages that were admitted one by one."""
        answered = self._answered_stream(method, messages)
        response = await self._changed(method, None, answered) if RULES[method.path].changes else await answered
        return response if isinstance(response, bytes) else response.SerializeToString()

    async def _answered(self, method: Method, request: Message, content: bytes | None) -> Message | bytes:
        local = self._local.get(method.path)
        if local is not None:
            return await local(request)
        response: bytes = await self.start(method, request.SerializeToString() if content is None else content)
        self._succeeded(method)
        return response

    async def _answered_stream(self, method: Method, messages: AsyncIterator[bytes]) -> Message | bytes:
        response = await pump(self.start(method, None), messages)
        self._succeeded(method)
        return response

    def answer_here(self, local: Mapping[str, Local]) -> None:
        """Adds calls that this process answers, of those who need this object themselves."""
        self._local.update(local)

    def local_stream(self, method: Method) -> LocalStream:
        """Who answers a call that streams both ways."""
        return self._local_streams[method.path]

    async def _changed(
        self, method: Method, request: Message | None, answered: Coroutine[Any, Any, Message | bytes]
    ) -> Message | bytes:
        """Makes a change between what was before and the event that tells of it."""
        call = current_call()
        assert call is not None
        try:
            before = await self._audit.begun(_getter(method), request)
        except BaseException:
            answered.close()
            raise
        response = await answered
        told_of = response if isinstance(response, Message) else await self._decoded(method, response)
        await self._audit.made(method, call, before, told_of)
        return response

    async def _decoded(self, method: Method, content: bytes) -> Message:
        if len(content) > _BIG_BYTES:
            return await asyncio.to_thread(method.response.FromString, content)
        return method.response.FromString(content)

    async def _read(self, getter: Method, name: str) -> Message | None:
        """A resource by its name, for whoever calls; None where it can't be read. The change that follows says why."""
        request = getter.request(name=name)
        try:
            async with asyncio.timeout(_BEFORE_SECONDS):
                if (local := self._local.get(getter.path)) is not None:
                    return await local(request)
                content: bytes = await self._upstreams.start(getter, request.SerializeToString(), _BEFORE_SECONDS)
                return getter.response.FromString(content)
        except (RegrowError, grpc.aio.AioRpcError, TimeoutError, DecodeError):
            return None

    def start(self, method: Method, content: bytes | None) -> Any:
        """A call to the service behind, as grpc.aio has it. While draining, a stream raises `EngineUnavailable`."""
        if self._draining and method.streams_responses and not method.raw_response:
            raise stopping()
        call = self._upstreams.start(method, content, RULES[method.path].seconds)
        if method.streams_responses and not method.raw_response:
            self._streams.add(call)
            call.add_done_callback(self._streams.discard)
        return call

    def drain(self) -> None:
        """Ends the streams that would go on until their subject does; their callers hear that they should come back."""
        self._draining = True
        for call in list(self._streams):
            call.cancel()

    def _succeeded(self, method: Method) -> None:
        if method.path in self.after:
            self.after[method.path]()

    def _admit(self, method: Method, request: Message, principal: Principal, may_omit: bool) -> None:
        check_request(RULES[method.path], request, principal, may_omit=may_omit)
        violations = self._validator.collect_violations(request)
        if violations:
            raise InvalidFields([FieldProblem(field=_path(v.proto.field), problem=f"{v.proto.message}.") for v in violations])


def rate_told(standing: tuple[int, int, int] | None) -> list[tuple[bytes, bytes]]:
    """Of a caller's rate, as headers; none where it has no rate."""
    return [] if standing is None else [(name, b"%d" % value) for name, value in zip(_RATE, standing, strict=True)]


def failure_of(error: Exception, method: Method, seconds_left: float | None, waited: float) -> RegrowError:
    """What the caller is told. Where its own deadline has passed, that is it: the service that was waited for may be well."""
    failure = known(told(error, method.home), place=method.path)
    late = seconds_left is not None and waited >= seconds_left - _ON_THE_WAY_SECONDS
    return DeadlineExceeded.passed(method.home) if late and isinstance(failure, EngineUnavailable) else failure


@cache
def _getter(method: Method) -> Method | None:
    """The rpc that reads what a change changes."""
    before = RULES[method.path].before
    return public_methods()[f"/{method.service}/{before}"] if before else None


def _path(field: Any) -> str:
    text = ""
    for element in field.elements:
        text += f".{element.field_name}" if text else element.field_name
        if element.subscript is not None:
            text += f"[{element.subscript.value}]"
    return text


_running = RUNNING.labels(GATEWAY)


@cache
def _meters(path: str, code: grpc.StatusCode) -> tuple[Counter, Histogram]:
    """What counts a method's calls; looked up once, for finding them by their labels takes longer than counting."""
    return REQUESTS.labels(GATEWAY, path[1:], code.name), SECONDS.labels(GATEWAY, path[1:])


def _observe(method: Method, call: Call, code: grpc.StatusCode, reason: str, seconds: float) -> None:
    requests, durations = _meters(method.path, code)
    requests.inc()
    durations.observe(seconds)
    if code is grpc.StatusCode.OK and method.path in _UNLOGGED:
        return
    failed = HTTP_STATUS[code] >= 500 and code not in _NO_FAULT
    caller = call.principal or call.refused
    whence = {"key_prefix": call.key_prefix, "source": address_of(call.peer())} if code.name in REFUSALS else {}
    (log.error if failed else log.info)(
        "rpc", method=method.path[1:], code=code.name, reason=reason, seconds=round(seconds, 4),
        key_id=caller.key_id if caller is not None else "", **whence,
    )  # fmt: skip
