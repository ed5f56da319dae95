"""What a running service tells: one log line per event, and rate, errors and duration of every rpc.

Logs go to stderr, as JSON lines or for the eye, with the service's name and the id of the call that they belong to; lines
of libraries take the same shape. Metrics live in Prometheus' default registry, with labels whose values the program
fixes: never a name, a key or anything else that a caller chooses.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from structlog.typing import EventDict, Processor, WrappedLogger

from services.common.errors import FailedPrecondition
from services.common.metering import describe_build
from services.common.ports import who_listens
from services.common.rpc.principal import current_call

REQUESTS = Counter("regrow_rpc_requests", "Calls that ended, by status code.", ["service", "method", "code"])
SECONDS = Histogram(
    "regrow_rpc_seconds",
    "How long calls took; streams count until their end.",
    ["service", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)
RUNNING = Gauge("regrow_rpc_running", "Calls that run now.", ["service"])


def configure_logging(service: str, *, level: str = "INFO", json: bool = True) -> None:
    """Sets up structlog and the standard library's logging for this process. Calling it again replaces what was set."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _named(service),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,
    )
    as_json: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    shape = as_json if json else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shape],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Its every try at a broker that is down is an error to it; the event log tells once what couldn't be done.
    logging.getLogger("kafka").setLevel(logging.DEBUG if level == "DEBUG" else logging.CRITICAL)


def record(service: str, method: str, code: str, seconds: float) -> None:
    """Counts one call that ended. `method` is `package.Service/Method` of a method that exists."""
    REQUESTS.labels(service, method, code).inc()
    SECONDS.labels(service, method).observe(seconds)


def serve_metrics(service: str, address: str) -> Callable[[], None]:
    """Serves `/metrics` over HTTP on `host:port`; the answer ends it. Raises `FailedPrecondition` (`ADDRESS_IN_USE`)."""
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), addr=host or "127.0.0.1")
    except OSError as error:
        raise address_in_use(address, error.strerror or "") from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    describe_build(service)
    return stop


def address_in_use(address: str, problem: str) -> FailedPrecondition:
    """Says who listens there already, else that the address can't be bound."""
    port = address.rpartition(":")[2]
    if port.isdigit() and int(port) and (holder := who_listens(int(port))):
        return FailedPrecondition(
            f"Port {port} is in use by {holder}. Stop it, or choose another address than '{address}'.",
            reason="ADDRESS_IN_USE",
            address=address,
            holder=holder,
        )
    why = f" ({problem})" if problem else ""
    return FailedPrecondition(
        f"Can't listen on '{address}'{why}: port {port} is in use, or the host isn't one of this machine."
        " Choose another address.",
        reason="ADDRESS_IN_USE",
        address=address,
    )


def _named(service: str) -> Processor:
    def add_names(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        line["service"] = service
        if (call := current_call()) is not None:
            if call.request_id:
                line["request_id"] = call.request_id
            if call.span is not None:
                line["trace_id"], line["span_id"] = call.span.trace_id, call.span.span_id
        return line

    return add_names
