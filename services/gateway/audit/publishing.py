"""Tells the event log what the audit log holds: topic `regrow.audit`, in order, at least once."""

from __future__ import annotations

from regrow.events.v1 import events_pb2
from services.common import tracing
from services.common.database import Database
from services.common.events.cloud_events import envelope
from services.common.events.port import AUDIT, Event, EventLog
from services.gateway.audit import storage
from services.gateway.audit.storage import AuditRow

EVENT_TYPE = "regrow.audit.v1"
SOURCE = "/regrow/gateway"
_BATCH = 100


def publish(database: Database, events: EventLog) -> int:
    """Appends one batch and notes how far it came; answers its size. Raises `EngineUnavailable`."""
    with database.reading() as session:
        batch = storage.unpublished(session, _BATCH)
    if batch:
        events.append(AUDIT, [_event(row) for row in batch])
        with database.session() as session:
            storage.note_published(session, batch[-1].number)
    return len(batch)


def _event(row: AuditRow) -> Event:
    payload = events_pb2.AuditEvent(
        number=row.number, request_id=row.request_id, method=row.method, resource=row.resource, key_id=row.key_id,
        display_name=row.display_name, subject=row.subject, role=row.role, source_address=row.source, outcome=row.outcome,
        reason=row.reason, before_json=row.before, after_json=row.after, call_count=row.calls,
    )  # fmt: skip
    payload.event_time.FromDatetime(row.time)
    headers = envelope(
        id=str(row.number), type=EVENT_TYPE, source=SOURCE, time=row.time, subject=row.resource or row.method,
        extensions=tracing.extensions(tracing.TraceContext(request_id=row.request_id, traceparent="")),
    )  # fmt: skip
    return Event(key=row.project or row.resource or row.method, value=payload.SerializeToString(), headers=headers)
