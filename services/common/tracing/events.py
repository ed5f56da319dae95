"""The trace of an event: it travels in CloudEvents' extension `traceparent`, the request id in `requestid`.

https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/distributed-tracing.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.common.tracing.context import TraceContext, current_context
from services.common.tracing.spans import (
    Span,
    begin,
    below,
    current_span,
    ended,
    is_on,
    messaging_system,
    parent_of,
    within,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from services.common.events.port import Record

_REQUEST_ID, _TRACEPARENT = "requestid", "traceparent"


def extensions(context: TraceContext) -> dict[str, str]:
    """CloudEvents extensions that carry a context; without what is empty."""
    named = {_REQUEST_ID: context.request_id, _TRACEPARENT: context.traceparent}
    return {name: value for name, value in named.items() if value}


def context_of(headers: Mapping[str, str]) -> TraceContext:
    """Inverse of `extensions`, from the headers of a record."""
    return TraceContext.read(headers.get(f"ce_{_REQUEST_ID}"), headers.get(f"ce_{_TRACEPARENT}"))


def sending(topic: str, count: int = 1) -> tuple[TraceContext, Span | None]:
    """Before events are appended for the call at hand: the context that they carry, and the span to end once they are
    committed; None where the call isn't traced."""
    here, parent = current_context(), current_span()
    return _sent(topic, here, None if parent is None or not parent.sampled else below(parent), count)


def sending_for(cause: TraceContext, topic: str) -> tuple[TraceContext, Span | None]:
    """The same for an event that an earlier call caused."""
    return _sent(topic, cause, parent_of(cause) if cause.traceparent else None, 1)


@contextmanager
def handling(group: str, records: Sequence[Record]) -> Iterator[None]:
    """Around the handling of a batch: a span for each record that is traced, below the span that sent it.

    A batch of one record, or of records of one call, is handled as that call's work: its logs and calls say so.
    """
    contexts = {context for record in records if (context := context_of(record.headers))}
    if len(contexts) == 1 and len(records) > 0:
        (only,) = contexts
        with within(only, _handled(group, records[0], only) if is_on() else None):
            yield
        return
    if not is_on() or not contexts:
        yield
        return
    spans = [_handled(group, record, context) for record in records if (context := context_of(record.headers)).traceparent]
    with ended(*spans):
        yield


def _sent(topic: str, cause: TraceContext, parent: Context | None, count: int) -> tuple[TraceContext, Span | None]:
    """No span where nobody traced the cause: a producer begins no traces of its own."""
    if parent is None:
        return cause, None
    span = begin(f"send {topic}", "PRODUCER", parent, {**_messaging("send", topic), "messaging.batch.message_count": count})
    return cause if span is None else TraceContext(request_id=cause.request_id, traceparent=span.traceparent), span


def _handled(group: str, record: Record, context: TraceContext) -> Span | None:
    """No span where nobody traced the record: a consumer begins no traces of its own."""
    if not context.traceparent:
        return None
    attributes = {
        **_messaging("process", record.topic),
        "messaging.consumer.group.name": group,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.message.id": record.headers.get("ce_id", ""),
        "regrow.offset": record.offset,
    }
    return begin(f"process {record.topic}", "CONSUMER", parent_of(context), attributes)


def _messaging(operation: str, topic: str) -> dict[str, str | int]:
    return {
        "messaging.system": messaging_system(),
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
