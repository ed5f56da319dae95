"""`AuditService`. The database is read in threads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.gateway.v1 import audit_pb2
from services.common.database import Database
from services.common.errors import InvalidField
from services.common.listing import asked
from services.common.rpc.principal import current_principal
from services.gateway.audit.handlers import list_events
from services.gateway.audit.storage import AuditRow, Filter
from services.gateway.json_reading import fill_struct


class AuditApi:
    """Lists what the caller may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_events(self, request: audit_pb2.ListAuditEventsRequest) -> audit_pb2.ListAuditEventsResponse:
        """A page, newest first."""
        wanted = Filter(
            projects=current_principal().projects, actor=request.actor.removeprefix("keys/"), resource=request.resource,
            method=request.method.removeprefix("/"), outcome=request.outcome,
            start=_moment(request.start_time, "start_time") if request.HasField("start_time") else None,
            end=_moment(request.end_time, "end_time") if request.HasField("end_time") else None,
        )  # fmt: skip
        rows, token = await asyncio.to_thread(list_events, self._database, wanted, asked(request))
        return audit_pb2.ListAuditEventsResponse(audit_events=[_proto(row) for row in rows], next_page_token=token)


def _proto(row: AuditRow) -> audit_pb2.AuditEvent:
    message = audit_pb2.AuditEvent(
        name=f"auditEvents/{row.number}", request_id=row.request_id, method=row.method, resource=row.resource,
        source_address=row.source, outcome=row.outcome, reason=row.reason, call_count=row.calls,
        actor=audit_pb2.Actor(
            key_id=row.key_id, display_name=row.display_name, subject=row.subject, role=f"ROLE_{row.role.upper()}"
        ),
    )  # fmt: skip
    message.event_time.FromDatetime(row.time)
    if row.before:
        fill_struct(orjson.loads(row.before), message.before)
    if row.after:
        fill_struct(orjson.loads(row.after), message.after)
    return message


def _moment(stamp: Timestamp, field: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (OverflowError, ValueError):
        raise InvalidField(field, "lies outside the years 1 to 9999.") from None
