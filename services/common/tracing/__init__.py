"""OpenTelemetry traces: one request followed through REST, gRPC, the event log, workflows and processes.

Off unless a collector is named, and then nothing here makes an object or imports OpenTelemetry. The span of the work at
hand lives in the current `Call`, beside the request id, so there is one context and not two. A trace context leaves and
arrives as W3C's `traceparent`: in gRPC metadata and HTTP headers, in the CloudEvents extension of an event, in a column
beside work that waits in a database, and in the environment of a child process.

What a span may say: the names of methods, routes, topics and resources, status codes, and an error's reason; never its text,
a row, a label or a key.
"""

from services.common.tracing.context import TraceContext, current_context
from services.common.tracing.events import context_of, extensions, handling, sending, sending_for
from services.common.tracing.provider import from_environment, start_tracing, to_environment
from services.common.tracing.spans import HEADERS, Arrived, Span, begin_call, begin_serving, caused_by, ended, is_on, step, use

__all__ = [
    "HEADERS",
    "Arrived",
    "Span",
    "TraceContext",
    "begin_call",
    "begin_serving",
    "caused_by",
    "context_of",
    "current_context",
    "ended",
    "extensions",
    "from_environment",
    "handling",
    "is_on",
    "sending",
    "sending_for",
    "start_tracing",
    "step",
    "to_environment",
    "use",
]
