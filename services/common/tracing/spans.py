"""Spans: begun where a call arrives or leaves, or where work goes on that an earlier call caused.

Names and attributes are those of OpenTelemetry's semantic conventions (RPC, HTTP, messaging; semconv 1.40).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from services.common.errors import RegrowError
from services.common.rpc.principal import Call, current_call, entered, new_request_id
from services.common.tracing.context import TraceContext

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer, TracerProvider

Attributes = Mapping[str, str | int | float | bool]
Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]

HEADERS = ("traceparent", "tracestate")
"""W3C's headers, the same over HTTP and as gRPC metadata."""

# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/: of a server's answers, only these are its own fault.
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class Span:
    """A span that began. `end` it once; a second end changes nothing."""

    __slots__ = ("_span",)

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def sampled(self) -> bool:
        """Whether it is recorded; true after its end, too. One that isn't still says so to whoever it calls."""
        return self._span.get_span_context().trace_flags.sampled

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""
        return f"{self._span.get_span_context().span_id:016x}"

    @property
    def traceparent(self) -> str:
        """W3C's header for whoever is called from within this span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self._span.get_span_context().trace_flags):02x}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """`traceparent`, and the `tracestate` that the caller's system sent, which is passed on as it is."""
        state = self._span.get_span_context().trace_state.to_header()
        return (("traceparent", self.traceparent), *((("tracestate", state),) if state else ()))

    def set(self, **attributes: str | int | float | bool) -> None:
        """Adds attributes; `regrow.model_version` is written `model_version`."""
        for name, value in attributes.items():
            self._span.set_attribute(f"regrow.{name}", value)

    def answered(self, code: str, reason: str = "", *, http_status: int = 0, fault: bool | None = None) -> None:
        """Ends a call's span with its gRPC status; `fault` says whether that is an error, by default a server's own ones."""
        if self._span.is_recording():
            self._span.set_attribute("rpc.response.status_code", code)
            if http_status:
                self._span.set_attribute("http.response.status_code", http_status)
            if code != "OK":
                self._span.set_attribute("error.type", reason or code)
            if code in _SERVER_FAULTS if fault is None else fault:
                self._fail()
        self._span.end()

    def end(self, error: BaseException | None = None) -> None:
        """Ends it; an error is told by its reason or its class."""
        if error is not None and self._span.is_recording():
            self._span.set_attribute("error.type", error.reason if isinstance(error, RegrowError) else type(error).__name__)
            self._fail()
        self._span.end()

    def _fail(self) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """How a call reached this process: the name and attributes of its span, and the headers that carry its trace."""

    name: str
    attributes: Attributes
    headers: Mapping[str, str]


MESSAGING = "regrow"
"""What spans of events call the embedded log."""
_tracer: Tracer | None = None
_messaging = MESSAGING


def use(provider: TracerProvider | None, *, messaging: str = MESSAGING) -> None:
    """Makes spans with this provider from now on; None turns tracing off. `messaging` is what holds the event log."""
    global _tracer, _messaging
    _tracer = None if provider is None else provider.get_tracer("regrow")
    _messaging = messaging


def messaging_system() -> str:
    """`messaging.system` of OpenTelemetry's conventions."""
    return _messaging


def is_on() -> bool:
    """Whether spans are made. Ask before gathering what only a span needs."""
    return _tracer is not None


def begin_serving(arrived: Arrived, method: str) -> Span | None:
    """The span of a call that arrived, a child of its caller's. None where tracing is off."""
    attributes = {"rpc.system.name": "grpc", "rpc.method": method, **arrived.attributes}
    return begin(arrived.name, "SERVER", _extracted(arrived.headers), attributes)


def begin_call(method: str, server: Attributes) -> Span | None:
    """The span of a call to another service, where the work at hand is traced. Pass its `headers` on."""
    parent = current_span()
    if parent is None or _tracer is None:
        return None
    if not parent.sampled:
        return parent
    return begin(method, "CLIENT", below(parent), {"rpc.system.name": "grpc", "rpc.method": method, **server})


@contextmanager
def step(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """A part of the work at hand that is worth a span of its own. Attributes are written `regrow.<name>`."""
    call, parent = current_call(), current_span()
    if call is None or parent is None or not parent.sampled:
        yield
        return
    span = begin(name, "INTERNAL", below(parent), _ours(attributes))
    with entered(replace(call, span=span)), ended(span):
        yield


@contextmanager
def caused_by(context: TraceContext, name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Work in the background that a call caused, maybe long ago and in another process: it goes on in that call's trace.

    Logs and further calls carry the same request id. Without a trace context the work begins a trace of its own.
    """
    span = begin(name, "INTERNAL", parent_of(context), _ours(attributes))
    with within(context, span):
        yield


@contextmanager
def within(context: TraceContext, span: Span | None) -> Iterator[None]:
    """Enters a call of the context's request id with this span, and ends the span."""
    with entered(Call(request_id=context.request_id or new_request_id(), span=span)), ended(span):
        yield


@contextmanager
def ended(*spans: Span | None) -> Iterator[None]:
    """Ends spans with the block."""
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        for span in spans:
            if span is not None:
                span.end(failure)


def begin(name: str, kind: Kind, parent: Context | None, attributes: Attributes) -> Span | None:
    """A span below `parent`; where that is None, the first of a new trace. None where tracing is off."""
    if _tracer is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    return Span(_tracer.start_span(name, parent or Context(), SpanKind[kind], dict(attributes)))


def parent_of(context: TraceContext) -> Context | None:
    """The span that a kept trace context names; None where it names none."""
    return _extracted({"traceparent": context.traceparent}) if context.traceparent else None


def _extracted(headers: Mapping[str, str]) -> Context | None:
    if _tracer is None or "traceparent" not in headers:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers, Context())


def below(span: Span) -> Context:
    """The parent of whatever this span causes."""
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span._span, Context())


def current_span() -> Span | None:
    """The span of the call that this thread or task works for."""
    call = current_call()
    return None if call is None else call.span


def _ours(attributes: Attributes) -> Attributes:
    return {f"regrow.{name}": value for name, value in attributes.items()}
