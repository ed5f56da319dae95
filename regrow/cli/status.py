"""`regrow status`: how all of it is. Made for an outage: what is missing comes first, and nothing is waited for long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import typer

from regrow import names
from regrow.cli import output
from regrow.cli.options import DATA, Data, Json, Project, connect
from regrow.client import Client
from regrow.errors import CallError
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import feedback_ledger_pb2
from regrow.local.launcher import is_running
from regrow.local.supervisor import read_state
from regrow.training.v1 import runs_pb2

SYSTEM_SECONDS, PART_SECONDS = 8.0, 3.0
"""How long the gateway may take to ask all services and engines, and how long all the rest together may take after that."""
_LEAST_SECONDS = 0.1
_AT_ONCE = 8
_ACTIVE = {runs_pb2.RUN_STATE_QUEUED: "queued", runs_pb2.RUN_STATE_RUNNING: "running"}
_UNDER_WAY = "state = queued OR state = running"


@dataclass(slots=True, kw_only=True)
class Parts:
    """What could be read beside the services; `unread` says why of what couldn't."""

    feedback: list[feedback_ledger_pb2.FeedbackStats] = field(default_factory=list)
    runs: list[runs_pb2.Run] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def status(project: Project = "default", json: Json = False, data: Data = DATA) -> None:
    """Show how the services are and what they lack, which models are loaded, what feedback came, which runs are under way.

    Takes seconds, also in an outage: what can't be read is told with its reason, and the rest is shown. Exit code 1 where
    anything is amiss: a service isn't ready or tells of a problem, or a part couldn't be read.
    """
    if not is_running(data) and read_state(data):
        output.warn(f"The supervisor of {data.absolute()} is gone. `regrow up` cleans up after it and starts again.")
    with connect(project, data, retry_for=0) as client:
        system = client.system.GetStatus(gateway_pb2.GetStatusRequest(), timeout=SYSTEM_SECONDS)
        if not json:
            _show_system(client.address, system)
        parts = _read(client, project, system)
    if json:
        output.show_json({"status": system, "feedback": parts.feedback, "runs": parts.runs, "unread": parts.unread})
    else:
        _show_parts(parts)
    amiss = parts.unread or any(service.problem or not service.ready for service in system.services)
    raise typer.Exit(code=int(bool(amiss)))


def _read(client: Client, project: str, system: gateway_pb2.Status) -> Parts:
    """Asks for everything at once, within `PART_SECONDS` in all."""
    latest = time.monotonic() + PART_SECONDS
    models = sorted({names.parent(m.version) for m in system.loaded_models if names.project_of(m.version) == project})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listing = pool.submit(_runs, client, project, latest)
        asked = [(model, pool.submit(_feedback, client, model, latest)) for model in models]
        parts = Parts()
        try:
            parts.runs = listing.result()
        except CallError as error:
            parts.unread["runs"] = _why(error)
        for model, stats in asked:
            try:
                parts.feedback.append(stats.result())
            except CallError as error:
                parts.unread[f"feedback of {names.short(model)}"] = _why(error)
    return parts


def _runs(client: Client, project: str, latest: float) -> list[runs_pb2.Run]:
    request = runs_pb2.ListRunsRequest(parent=f"projects/{project}", page_size=1000, filter=_UNDER_WAY)
    return [run for run in client.runs.ListRuns(request, timeout=_left(latest)).runs if run.state in _ACTIVE]


def _feedback(client: Client, model: str, latest: float) -> feedback_ledger_pb2.FeedbackStats:
    request = feedback_ledger_pb2.GetFeedbackStatsRequest(parent=model)
    stats: feedback_ledger_pb2.FeedbackStats = client.feedback_ledger.GetFeedbackStats(request, timeout=_left(latest))
    return stats


def _left(latest: float) -> float:
    return max(_LEAST_SECONDS, latest - time.monotonic())


def _why(error: CallError) -> str:
    if error.code == "DEADLINE_EXCEEDED":
        return f"There was no answer within {PART_SECONDS:.0f} s."
    return error.message


def _show_system(address: str, system: gateway_pb2.Status) -> None:
    output.facts({"gateway": address, "version": system.software_version, "predictions to log": system.pending_predictions})
    output.table(
        "Services", ("service", "ready", "problem"), [(one.service, one.ready, one.problem) for one in system.services]
    )
    if not system.loaded_models:
        return
    rows = [
        (names.short(one.version), ", ".join(_aliases(one.aliases)), output.when(one.load_time), one.predictions)
        for one in system.loaded_models
    ]
    output.table("Loaded models", ("version", "aliases", "loaded", "predictions"), rows, numbers=("predictions",))


def _aliases(full: Iterable[str]) -> Iterator[str]:
    return (names.short(alias).split("/")[-1] for alias in full)


def _show_parts(parts: Parts) -> None:
    if parts.feedback:
        columns = ("model", "votes", "used", "unmatched", "repeated", "not read yet", "predictions not read yet")
        rows = [
            (names.short(f.model), f.votes, f.used, f.unmatched, f.repeated_count, f.lag, f.prediction_lag)
            for f in parts.feedback
        ]
        output.table("Feedback", columns, rows, numbers=columns[1:])
    if parts.runs:
        running = [
            (names.short(r.name), _ACTIVE[r.state], names.short(r.model), output.when(r.create_time)) for r in parts.runs
        ]
        output.table("Runs under way", ("run", "state", "model", "submitted"), running)
    why: dict[str, list[str]] = {}
    for part, reason in parts.unread.items():
        why.setdefault(reason, []).append(part)
    for reason, unread in why.items():
        output.warn(f"Not read: {', '.join(unread)}. {reason}")
