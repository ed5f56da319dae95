"""`regrow audit`: who changed what, and who was refused."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from regrow import names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Most, OrderBy, connect, span
from regrow.gateway.v1 import audit_pb2

app = typer.Typer(help="Who changed what, and who was refused.", no_args_is_help=True)


@app.command("list")
def list_events(
    since: Annotated[str, typer.Option("--since", help="Only of the last 1d, 12h, 30m.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Only by this key or token subject.")] = "",
    resource: Annotated[str, typer.Option("--resource", help="Only about this resource or what lies in it, full name.")] = "",
    method: Annotated[str, typer.Option("--method", help="Only this rpc, such as SetAlias.")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="Only with this outcome: OK, PERMISSION_DENIED, ...")] = "",
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    json: Json = False,
) -> None:
    """List changes and refusals, newest first."""
    request = audit_pb2.ListAuditEventsRequest(
        page_size=min(limit, 1000), actor=actor, resource=resource, method=method, outcome=outcome, filter=filter,
        order_by=order_by,
    )  # fmt: skip
    if since:
        request.start_time.FromDatetime(datetime.now(UTC) - span(since, "--since"))
    with connect() as client:
        found = list(islice(client.audit.ListAuditEvents.each(request), limit))
    if json:
        return output.show_json(found)
    output.table("", ("when", "who", "did", "to", "outcome", "from"), [_line(event) for event in found])


def _line(event: audit_pb2.AuditEvent) -> tuple[str, ...]:
    who = event.actor.display_name or event.actor.key_id
    outcome = event.outcome if not event.reason or event.reason == event.outcome else f"{event.outcome} ({event.reason})"
    if event.call_count > 1:
        outcome += f", {event.call_count:,} times"
    did, to = event.method.rpartition("/")[2], event.resource
    return (output.when(event.event_time), who, did, names.short(to) if to else "", outcome, event.source_address)
