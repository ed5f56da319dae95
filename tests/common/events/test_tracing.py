"""Traces through the event log: from who sends, in the event's headers, to whoever handles it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from services.common import tracing
from services.common.errors import InvalidField
from services.common.events import FEEDBACK, Event, EventLog, Record, SqliteLog, envelope, run_consumer
from services.common.rpc.principal import current_request_id
from services.common.telemetry import configure_logging

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "a" * 32
ONE = tracing.TraceContext(request_id="req-1", traceparent=f"00-{TRACE}-{'1' * 16}-01")
TWO = tracing.TraceContext(request_id="req-2", traceparent=f"00-{OTHER}-{'2' * 16}-01")


@pytest.fixture
def spans() -> Iterator[Callable[[], Sequence[ReadableSpan]]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter.get_finished_spans
    tracing.use(None)


@pytest.fixture
def log(tmp_path: Any) -> Iterator[EventLog]:
    made = SqliteLog(tmp_path / "events.db")
    made.ensure_topics()
    yield made
    made.close()


def _event(number: int, cause: tracing.TraceContext) -> Event:
    headers = envelope(id=str(number), type="t", source="/s", time=datetime.now(UTC), extensions=tracing.extensions(cause))
    return Event(key="k", value=str(number).encode(), headers=headers)


def _consume(log: EventLog, expected: int, handle: Callable[[Sequence[Record]], None]) -> None:
    stop, seen = threading.Event(), []

    def count(records: Sequence[Record]) -> None:
        handle(records)
        seen.extend(records)
        if len(seen) == expected:
            stop.set()

    run_consumer(log, [FEEDBACK], "labeling", count, stop)


def test_an_event_is_handled_in_the_trace_and_with_the_request_id_of_who_sent_it(log: EventLog, spans: Any) -> None:
    with tracing.caused_by(ONE, "call"):
        context, span = tracing.sending(FEEDBACK)
        with tracing.ended(span):
            log.append(FEEDBACK, [_event(1, context)])
    ids: list[str] = []
    _consume(log, 1, lambda records: ids.append(current_request_id()))
    sent, _, handled = spans()
    assert ids == ["req-1"]
    assert {span.context.trace_id for span in spans()} == {int(TRACE, 16)}
    assert (sent.name, handled.name) == ("send regrow.feedback", "process regrow.feedback")
    assert handled.parent.span_id == sent.context.span_id
    assert handled.attributes["messaging.consumer.group.name"] == "labeling"
    assert handled.attributes["messaging.message.id"] == "1"


def test_of_a_batch_each_traced_record_has_a_span_in_its_own_trace(log: EventLog, spans: Any) -> None:
    log.append(FEEDBACK, [_event(1, ONE), _event(2, TWO), _event(3, tracing.TraceContext())])
    ids: list[str] = []
    _consume(log, 3, lambda records: ids.append(current_request_id()))
    assert ids == [""]  # the batch is nobody's own
    assert {(f"{span.context.trace_id:032x}", span.attributes["messaging.message.id"]) for span in spans()} == {
        (TRACE, "1"), (OTHER, "2"),
    }  # fmt: skip


def test_a_record_that_is_refused_ends_its_span_as_an_error_without_the_words(log: EventLog, spans: Any) -> None:
    log.append(FEEDBACK, [_event(1, ONE), _event(2, TWO)])

    def handle(records: Sequence[Record]) -> None:
        if any(record.value == b"1" for record in records):
            raise InvalidField("value", "is private")

    stop = threading.Event()

    def watched(records: Sequence[Record]) -> None:
        try:
            handle(records)
        finally:
            if records[-1].value == b"2" and len(records) == 1:
                stop.set()

    run_consumer(log, [FEEDBACK], "labeling", watched, stop)
    alone = [span for span in spans() if span.attributes["messaging.message.id"] == "1"][-1]
    assert alone.status.status_code is StatusCode.ERROR and alone.attributes["error.type"] == "INVALID_FIELD"
    assert all("private" not in span.to_json() for span in spans())


def test_headers_of_strangers_that_are_no_context_are_left_alone(log: EventLog, spans: Any) -> None:
    strange = {**_event(1, ONE).headers, "ce_traceparent": "00-zz", "ce_requestid": "not an id"}
    assert tracing.context_of(strange) == tracing.TraceContext()
    log.append(FEEDBACK, [Event(key="k", value=b"1", headers=strange)])
    _consume(log, 1, lambda records: None)
    assert spans() == ()


def test_lines_that_are_written_while_an_event_is_handled_carry_its_ids(
    log: EventLog, spans: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("labeling")
        log.append(FEEDBACK, [_event(1, ONE)])
        _consume(log, 1, lambda records: structlog.get_logger().info("handled"))
        (line,) = [json.loads(one) for one in capsys.readouterr().err.splitlines() if '"handled"' in one]
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
    assert (line["request_id"], line["trace_id"]) == ("req-1", TRACE)
    assert line["span_id"] == f"{spans()[0].context.span_id:016x}"
