"""What is asked of the audit log, and what the calls tell it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import unquote

from google.protobuf.message import Message

from services.common.database import Database, now
from services.common.listing import FIRST_PAGE, Asked
from services.common.rpc.principal import Call
from services.gateway.audit import storage
from services.gateway.audit.rules import AuditEvent, as_json, project_of, resource_of
from services.gateway.audit.storage import AuditRow, Filter
from services.gateway.audit.trail import Trail
from services.gateway.methods import Method
from services.gateway.policy import Rule

Read = Callable[[Method, str], Awaitable[Message | None]]
"""Reads a resource by name through the rpc given, for whoever calls; None where it can't be read."""


class Audit:
    """Tells the trail of each call. Belongs to the event loop."""

    def __init__(self, trail: Trail, read: Read) -> None:
        self._trail = trail
        self._read = read

    async def begun(self, getter: Method | None, request: Message | None) -> Message | None:
        """Before a change: what it changes. Raises `EngineUnavailable` where changes can't be recorded now."""
        self._trail.check()
        name = _named(request)
        return await self._read(getter, name) if getter is not None and name else None

    async def made(self, method: Method, call: Call, before: Message | None, after: Message) -> None:
        """A change was made: returns once that is kept."""
        call.audited = True
        resource = resource_of(after) or resource_of(_request(call))
        await self._trail.record(_event(method, call, resource, before=as_json(before), after=as_json(after)))

    def failed(self, method: Method, rule: Rule, call: Call, outcome: str, reason: str) -> None:
        """A call ended otherwise. Kept where it would have changed something, or was refused for lack of a right."""
        if call.principal is not None and not call.audited and (rule.changes or outcome == "PERMISSION_DENIED"):
            call.audited = True
            self._trail.offer(_event(method, call, resource_of(_request(call)), outcome=outcome, reason=reason))


def list_events(database: Database, wanted: Filter, ask: Asked = FIRST_PAGE) -> tuple[Sequence[AuditRow], str]:
    """A page of events, newest first, and the token of the next page. Raises `InvalidField`."""
    with database.reading() as session:
        return storage.page(session, wanted, ask)


def _event(
    method: Method, call: Call, resource: str, *, outcome: str = "OK", reason: str = "", before: str = "", after: str = ""
) -> AuditEvent:
    assert call.principal is not None
    return AuditEvent(
        time=now(), request_id=call.request_id, method=method.path[1:], resource=resource, project=project_of(resource),
        actor=call.principal, source=_address(call.peer()), outcome=outcome, reason=reason, before=before, after=after,
    )  # fmt: skip


def _address(peer: str) -> str:
    """gRPC tells `ipv4:10.0.0.1:1234` and `ipv6:%5B::1%5D:1234`, REST the address alone."""
    return unquote(re.sub("^ipv[46]:", "", peer))


def _request(call: Call) -> Message | None:
    return call.request if isinstance(call.request, Message) else None


def _named(request: Message | None) -> str:
    """The name in a request that is about one resource, its own or that of what it holds."""
    return resource_of(request) if request is not None else ""
