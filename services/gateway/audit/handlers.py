"""What is asked of the audit log, and what the calls tell it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import DecodeError, Message

from services.common.database import Database, now
from services.common.listing import FIRST_PAGE, Asked
from services.common.rpc.principal import ALL_PROJECTS, Call, Principal
from services.gateway.audit import storage
from services.gateway.audit.rules import REFUSALS, AuditEvent, address_of, as_json, bare, project_of, resource_of
from services.gateway.audit.storage import AuditRow, Filter
from services.gateway.audit.trail import Trail
from services.gateway.methods import Method
from services.gateway.policy import Rule

_MOST_READ_BYTES = 64 << 10
"""Of a refused request that is larger, the resource isn't looked for."""

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
        assert call.principal is not None
        resource, after = resource_of(after) or resource_of(_request(call)), bare(after)
        await self._trail.record(_event(method, call, call.principal, resource, before=as_json(before), after=as_json(after)))

    def failed(self, method: Method, rule: Rule, call: Call, outcome: str, reason: str) -> None:
        """A call ended otherwise. Kept where it would have changed something, or was refused, and whose key it was is known."""
        actor, refused = call.principal or call.refused, outcome in REFUSALS
        if actor is None or call.audited or not (rule.changes or refused):
            return
        call.audited = True
        resource = resource_of(_request(call)) or call.about() or _only_project(rule, actor)
        event = _event(method, call, actor, resource, outcome=outcome, reason=reason)
        (self._trail.offer_refusal if refused else self._trail.offer)(event)


def list_events(database: Database, wanted: Filter, ask: Asked = FIRST_PAGE) -> tuple[Sequence[AuditRow], str]:
    """A page of events, newest first, and the token of the next page. Raises `InvalidField`."""
    with database.reading() as session:
        return storage.page(session, wanted, ask)


def named_in(method: Method, content: bytes) -> str:
    """The resource that a request is about, of one that wasn't read; empty for what can't be, or is large."""
    try:
        return resource_of(method.request.FromString(content)) if len(content) <= _MOST_READ_BYTES else ""
    except DecodeError:
        return ""


def _only_project(rule: Rule, actor: Principal) -> str:
    """Of a refused call that names nothing: the project of its key, where that has one alone and the call is about no other."""
    return (
        ""
        if rule.every_project or len(actor.projects) != 1 or ALL_PROJECTS in actor.projects
        else f"projects/{actor.projects[0]}"
    )


def _event(
    method: Method,
    call: Call,
    actor: Principal,
    resource: str,
    *,
    outcome: str = "OK",
    reason: str = "",
    before: str = "",
    after: str = "",
) -> AuditEvent:
    return AuditEvent(
        time=now(), request_id=call.request_id, method=method.path[1:], resource=resource, project=project_of(resource),
        actor=actor, source=address_of(call.peer()), outcome=outcome, reason=reason, before=before, after=after,
    )  # fmt: skip


def _request(call: Call) -> Message | None:
    return call.request if isinstance(call.request, Message) else None


def _named(request: Message | None) -> str:
    """The name in a request that is about one resource, its own or that of what it holds."""
    return resource_of(request) if request is not None else ""
