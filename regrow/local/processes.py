"""Names processes so that a number that was given out again is never mistaken for the old process, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path


def started_at(pid: int) -> str:
    """When a process started, in words that no later process of the same number has; empty where it is gone."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words = found.stdout.split()
    return "" if not words or words[0].startswith("Z") else " ".join(words[1:])


def command_of(pid: int) -> str:
    """The command line of a process, empty where it is gone or can't be seen."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def identity(pid: int) -> dict[str, object]:
    """What to write down of a process to find it again."""
    return {"pid": pid, "started": started_at(pid)}


def is_alive(known: Mapping[str, object]) -> bool:
    """Whether the very process that was written down still runs."""
    pid, started = known.get("pid"), known.get("started")
    return isinstance(pid, int) and bool(started) and started_at(pid) == started


def end(known: Iterable[Mapping[str, object]], grace: float) -> set[int]:
    """SIGTERM to each that still runs, SIGKILL to those that are left after `grace` seconds. Answers the numbers of all."""
    alive = [one for one in known if is_alive(one)]
    ended = {int(str(one["pid"])) for one in alive}
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for one in alive:
            _signal(int(str(one["pid"])), number)
        deadline = time.monotonic() + seconds
        while (alive := [one for one in alive if is_alive(one)]) and time.monotonic() < deadline:
            time.sleep(0.05)
    for pid in ended:
        end_group(pid)
    return ended


def end_group(leader: int) -> None:
    """Kills what is left of a dead leader's process group: what it started must not outlive it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
