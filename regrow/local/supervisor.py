"""Keeps the four services running: starts them, restarts what dies with growing pauses, stops them in order.

The supervisor belongs to one thread (`run`); `stop` may be called from any. What each service prints goes to its own file in
`{data}/logs`. A supervisor that was killed leaves its services running: the next one finds them in `{data}/up.json` and
ends them first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regrow.local.processes import end, end_group, identity

SERVICES = ("registry", "labeling", "training", "gateway")
FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.1, 30.0, 10.0
LOOK_EVERY = 0.1
GRACE = 12.0
LARGEST_LOG = 20 << 20
CERTIFICATES = ("_CERT_FILE", "_KEY_FILE", "_CA_FILE")
WRONG_SETTINGS = 78
"""How a service exits that won't start before an operator has changed something."""
KEY = re.compile(r"rg_[a-z2-7]{8}_[A-Za-z0-9_-]{43}")


def command_for(service: str) -> list[str]:
    """How a service is started."""
    return [sys.executable, "-m", f"services.{service}"]


@dataclass(slots=True)
class Child:
    """One service's process, with what is needed to start it again."""

    service: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    quick_deaths: int = 0
    restarts: int = 0
    exit_code: int | None = None
    """Of the last death."""

    def died(self, now: float) -> float:
        """Notes a death, and answers the pause before the next start: doubled for each death soon after a start."""
        self.quick_deaths = self.quick_deaths + 1 if now - self.started < STEADY_AFTER else 1
        pause: float = min(FIRST_PAUSE * 2 ** (self.quick_deaths - 1), LONGEST_PAUSE)
        self.process, self.start_at, self.restarts = None, now + pause, self.restarts + 1
        return pause


@dataclass(slots=True)
class Supervisor:
    """Starts and keeps the services. `tell` gets a line for a person; `on_admin_key` the first admin key, once."""

    data: Path
    environment: Mapping[str, str]
    tell: Callable[[str], None]
    on_admin_key: Callable[[str], None]
    command: Callable[[str], Sequence[str]] = command_for
    ready: bool = False
    children: dict[str, Child] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Starts all services. Returns at once; they become ready by themselves, in any order."""
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        for service in SERVICES:
            self.children[service] = Child(service=service)
            self._launch(self.children[service])
        self.write_state()

    def run(self) -> None:
        """Watches until `stop`; restarts what dies."""
        while not self._stopping.wait(LOOK_EVERY):
            for child in self.children.values():
                self._tend(child)
        self.end_all()

    def stop(self) -> None:
        """Makes `run` end the services and return."""
        self._stopping.set()

    def log_of(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.data / "logs" / f"{service}.log"

    def write_state(self) -> None:
        """Writes down who runs, for `regrow down` and for the supervisor after one that was killed."""
        running = {c.service: identity(c.process.pid) for c in self.children.values() if c.process is not None}
        state = {
            "supervisor": identity(os.getpid()),
            "services": running,
            "ready": self.ready,
            "http": self.environment.get("REGROW_GATEWAY_HTTP_ADDRESS", ""),
            "grpc": self.environment.get("REGROW_GATEWAY_GRPC_ADDRESS", ""),
            "addresses": {name: value for name, value in self.environment.items() if name.endswith("_ADDRESS")},
            "certificates": {name: value for name, value in self.environment.items() if name.endswith(CERTIFICATES)},
            "tls": bool(self.environment.get("REGROW_GATEWAY_CERT_FILE")),
            "ca_file": self.environment.get("REGROW_CA_FILE", ""),
        }
        temporary = self.data / "up.json.new"
        temporary.write_text(json.dumps(state))
        temporary.replace(self.data / "up.json")

    def _tend(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and (code := child.process.poll()) is not None:
            end_group(child.process.pid)
            pause, child.exit_code = child.died(now), code
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._say(f"{child.service} died ({how}); starting it again in {pause:.1f} s. Log: {self.log_of(child.service)}")
        if child.process is None and now >= child.start_at:
            try:
                self._launch(child)
                self.write_state()
            except OSError as error:  # a full disk or process table may be over in a moment: the others must be kept meanwhile
                pause = child.died(now) if child.process is None else 0.0
                self._say(f"{child.service} can't be started ({error.strerror}); trying again in {pause:.1f} s.")

    def _say(self, line: str) -> None:
        """Tells a person, where there still is one: a closed terminal is no reason to stop keeping the services."""
        with contextlib.suppress(OSError, ValueError):
            self.tell(line)

    def _launch(self, child: Child) -> None:
        path = self.log_of(child.service)
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            child.process = subprocess.Popen(
                list(self.command(child.service)),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if child.service == "gateway" else log,
                stderr=log,
                start_new_session=True,
            )
        child.started = time.monotonic()
        if child.process.stdout is not None:
            threading.Thread(target=self._read_gateway, args=(child.process,), name="gateway-output", daemon=True).start()

    def _read_gateway(self, process: subprocess.Popen[bytes]) -> None:
        """Copies the gateway's output to its log, all but the first admin key, which is shown once and never logged."""
        assert process.stdout is not None
        with process.stdout, self.log_of("gateway").open("ab", buffering=0) as log:
            for raw in process.stdout:
                found = KEY.search(raw.decode(errors="replace"))
                if found:
                    self.on_admin_key(found.group())
                else:
                    log.write(raw)

    def end_all(self) -> None:
        """The gateway first, so that no call finds half a system; then those that it called."""
        for services in (("gateway",), ("training", "labeling", "registry")):
            self._end([c.process for s in services if (c := self.children.get(s)) and c.process is not None])
        (self.data / "up.json").unlink(missing_ok=True)

    def _end(self, running: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            end_group(process.pid)


def read_state(data: Path) -> dict[str, Any]:
    """What `{data}/up.json` says; empty where nothing was started, or all was ended in order."""
    try:
        state = json.loads((data / "up.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def end_leftovers(data: Path) -> list[str]:
    """Ends services whose supervisor was killed, and answers their names. Call it only where no supervisor runs."""
    services: dict[str, dict[str, object]] = read_state(data).get("services", {})
    ended = end(services.values(), GRACE)
    (data / "up.json").unlink(missing_ok=True)
    return [service for service, known in services.items() if known.get("pid") in ended]
