"""`regrow doctor`: looks at everything that Regrow needs, here and at the gateway, and says what to do about what is amiss.

Each service that is installed here checks itself (`python -m services.<service> --check`); through the API the gateway tells
of itself and of the services behind it. Exit code 1 where anything is a problem.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

import regrow
from regrow.cli import output
from regrow.cli.options import DATA, Data, Json, another_gateway, client_of, credentials_for
from regrow.errors import CallError
from regrow.gateway.v1 import gateway_pb2
from regrow.local.supervisor import SERVICES, command_for, read_state

CHECK_SECONDS = 120.0
MUCH_LAG, MUCH_PENDING = 10_000, 1_000
SKEW, MOST_SKEW = timedelta(seconds=5), timedelta(minutes=5)
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One finding: `where` is a service of this machine, or `gateway (API)`."""

    where: str
    check: str
    verdict: str
    found: str
    todo: str = ""


def doctor(
    remote: Annotated[bool, typer.Option("--remote", help="Ask the gateway alone; look at nothing of this machine.")] = False,
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Check settings, packages, disk, ports, engines, clocks, schemas and lag, and say what to do.

    Exit code 1 where there is a problem; warnings alone are 0.
    """
    lines = [] if remote else list(_local(data))
    lines += _remote(None if remote else data)
    if json:
        output.show_json([asdict(line) for line in lines])
    else:
        _show(lines)
    raise typer.Exit(code=int(any(line.verdict == "problem" for line in lines)))


def _show(lines: list[Line]) -> None:
    shown = together(lines)
    rows = [(line.where, line.check, Text(line.verdict, style=_STYLES[line.verdict]), line.found, line.todo) for line in shown]
    output.table("", ("where", "check", "", "found", "what to do"), rows)
    counts = {verdict: sum(line.verdict == verdict for line in shown) for verdict in ("problem", "warning")}
    told = [f"{count} {verdict}{'s' * (count > 1)}" for verdict, count in counts.items() if count]
    output.tell(f"{' and '.join(told)}." if told else f"All {len(shown)} checks are well.")


def together(lines: list[Line]) -> list[Line]:
    """What several services found alike, in one line: they share most of what they stand on."""
    places: dict[Line, list[str]] = {}
    for line in lines:
        places.setdefault(replace(line, where=""), []).append(line.where)
    everywhere = {line.where for line in lines} & set(SERVICES)
    merged = []
    for line, found_in in places.items():
        if len(everywhere) > 1 and everywhere <= set(found_in):
            found_in = ["every service", *(where for where in found_in if where not in everywhere)]
        merged.append(replace(line, where=", ".join(dict.fromkeys(found_in))))
    return merged


def _local(data: Path) -> Iterator[Line]:
    """The findings of every service that is installed here, in order; they check at the same time."""
    installed = [service for service in SERVICES if _is_installed(service)]
    if not installed:
        yield Line(where="this machine", check="services", verdict="ok", found="Only the client is installed here.")
        return
    state = read_state(data)
    running = {**state.get("addresses", {}), **state.get("certificates", {})}
    environment = {**os.environ, **running, "REGROW_DATA_DIR": str(data.absolute())}
    with ThreadPoolExecutor(len(installed)) as pool:
        for found in pool.map(lambda service: _of_service(service, environment), installed):
            yield from found


def _is_installed(service: str) -> bool:
    try:
        return importlib.util.find_spec(f"services.{service}") is not None
    except ModuleNotFoundError:
        return False


def _of_service(service: str, environment: Mapping[str, str]) -> list[Line]:
    command = [*command_for(service), "--check", "--json"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": CHECK_SECONDS}
    try:
        done = subprocess.run(command, env=environment, check=False, **options)
        findings: list[dict[str, Any]] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return [_failed(service, f"It took longer than {CHECK_SECONDS:.0f} s.")]
    except ValueError:
        return [_failed(service, f"It said nothing that can be read: {done.stderr.strip()[-500:]}")]
    return [Line(where=service, **finding) for finding in findings]


def _failed(service: str, found: str) -> Line:
    return Line(where=service, check="check", verdict="problem", found=found, todo="Run it by hand with --check.")


def _remote(data: Path | None) -> list[Line]:
    """What the gateway of a data folder tells, or, where nobody names one, that of the login alone.

    Beside what the machine tells, a gateway that can't be asked is no problem of its own; one that isn't of this folder isn't
    asked, for two systems in one report would pass for one.
    """
    where, known = "gateway (API)", credentials_for(data)
    if data is not None and (other := another_gateway(known, data)):
        todo = "Start it with `regrow up`, or ask the gateway of the login alone: `regrow doctor --remote`."
        return [Line(where=where, check="call", verdict="warning", found=f"{other} It isn't asked.", todo=todo)]
    try:
        with client_of(known, retry_for=0) as client:
            asked = datetime.now(UTC)
            status = client.system.GetStatus(gateway_pb2.GetStatusRequest())
            address = Line(where=where, check="address", verdict="ok", found=f"It answers at {client.address}.")
            return [address, *_of_status(where, status, asked, datetime.now(UTC))]
    except CallError as error:
        todo = "Start it with `regrow up`, or name one: `regrow login`, REGROW_GRPC."
        if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            todo = "Store a key with `regrow login`."
        verdict = "problem" if data is None else "warning"
        return [Line(where=where, check="call", verdict=verdict, found=error.message, todo=todo)]


def _of_status(where: str, status: gateway_pb2.Status, asked: datetime, answered: datetime) -> Iterator[Line]:
    if status.software_version != regrow.__version__:
        todo = f"pip install regrow=={status.software_version}"
        found = f"It runs {status.software_version}, this client is {regrow.__version__}."
        yield Line(where=where, check="version", verdict="warning", found=found, todo=todo)
    else:
        yield Line(where=where, check="version", verdict="ok", found=f"It runs {status.software_version}, as this client.")
    yield _clock(where, "clock", status.clock_time, asked, answered)
    for service in status.services:
        yield from _of_state(where, service, status)
    for lag in status.consumer_lags:
        yield _lag(where, lag)
    verdict = "ok" if status.pending_predictions < MUCH_PENDING else "warning"
    found = f"{status.pending_predictions:,} predictions wait for the event log."
    yield Line(where=where, check="prediction log", verdict=verdict, found=found)


def _of_state(where: str, service: gateway_pb2.ServiceStatus, status: gateway_pb2.Status) -> Iterator[Line]:
    check = f"service {service.service}"
    if service.problem:
        todo = "Its log has the details; `regrow doctor` on its machine looks closer."
        yield Line(where=where, check=check, verdict="problem", found=service.problem, todo=todo)
    else:
        yield Line(where=where, check=check, verdict="ok", found="It is ready.")
    if service.software_version and service.software_version != status.software_version:
        found = f"It runs {service.software_version}, the gateway {status.software_version}."
        yield Line(where=where, check=check, verdict="warning", found=found, todo="Run one version everywhere.")
    if service.HasField("clock_time") and service.service != "gateway":
        theirs, ours = service.clock_time.ToDatetime(UTC), status.clock_time.ToDatetime(UTC)
        yield _skew(where, f"clock of {service.service}", abs(theirs - ours), "the gateway's")


def _lag(where: str, lag: gateway_pb2.ConsumerLag) -> Line:
    much = lag.waiting_events >= MUCH_LAG
    return Line(
        where=where, check=f"lag of {lag.group}", verdict="warning" if much else "ok",
        found=f"{lag.waiting_events:,} events of {lag.topic} wait.",
        todo=f"Look for `consumer_waits` in the log of {lag.group}; start another process of it if it is slow." if much else "",
    )  # fmt: skip


def _clock(where: str, check: str, theirs: Timestamp, asked: datetime, answered: datetime) -> Line:
    return _skew(where, check, abs(theirs.ToDatetime(UTC) - (asked + (answered - asked) / 2)), "this machine's")


def _skew(where: str, check: str, skew: timedelta, whose: str) -> Line:
    found = f"It is {skew.total_seconds():.1f} s from {whose}."
    if skew <= SKEW:
        return Line(where=where, check=check, verdict="ok", found=found)
    todo = "Set both by NTP: ages, retention and signatures of requests depend on it."
    return Line(where=where, check=check, verdict="problem" if skew > MOST_SKEW else "warning", found=found, todo=todo)
