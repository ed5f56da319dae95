"""`regrow up` and `down`: the whole of Regrow on this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from regrow import local
from regrow.cli import output
from regrow.cli.options import DATA, Data, pairs
from regrow.credentials import Credentials, credentials_of, key_of_folder, store_credentials, store_key_of_folder
from regrow.local import LaunchError, Local
from regrow.local.launcher import NOT_READY, check_installed, refuse_unfit
from regrow.local.supervisor import read_state

_ERROR = re.compile(r"^Error: (.*)", re.MULTILINE | re.DOTALL)


def up(
    data: Data = DATA,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Pick ports that nothing listens on.")] = False,
    http: Annotated[str, typer.Option("--http", help="Where REST listens, host:port. Usually 127.0.0.1:8080.")] = "",
    grpc: Annotated[str, typer.Option("--grpc", help="Where gRPC listens, host:port. Usually 127.0.0.1:8081.")] = "",
    tls: Annotated[
        bool, typer.Option("--tls", help="HTTPS, gRPC over TLS, and certificates between the services, all made here.")
    ] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the services, REGROW_NAME=value. May be repeated.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background; `regrow down` ends it.")] = False,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> None:
    """Start the four services on this machine, and keep them running until Ctrl-C.

    Prints where they answer and, the first time, the admin key, which it also stores for your later commands.
    """
    settings = pairs(setting or [], "--set")
    settings.update({name: value for name, value in _addresses(http, grpc).items() if value})
    if detach:
        return _up_detached(data, free_ports, tls, settings)
    stop_on_signals()

    def ready(running: Local) -> None:
        announce(running, show_key=not background)

    with Local(data=data, free_ports=free_ports, tls=tls, settings=settings, tell=output.tell, on_ready=ready):
        wait_for_stop("Running. Ctrl-C stops it.")


def _addresses(http: str, grpc: str) -> dict[str, str]:
    return {"REGROW_GATEWAY_HTTP_ADDRESS": http, "REGROW_GATEWAY_GRPC_ADDRESS": grpc}


def stop_on_signals() -> None:
    """The first Ctrl-C, SIGTERM or hang-up interrupts; later ones are ignored, so that an orderly end isn't cut short."""
    asked = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup a hang-up is no reason to stop
            signal.signal(number, stop)


def wait_for_stop(meanwhile: str) -> None:
    """Says what goes on, and blocks until `stop_on_signals` interrupts."""
    try:
        output.tell(meanwhile)
        threading.Event().wait()
    except KeyboardInterrupt:
        output.tell("Stopping; calls under way may finish.")


def announce(running: Local, *, show_key: bool) -> Credentials:
    """Prints where Regrow answers, stores its key for this user's later commands, and shows a new key once."""
    fresh = running.admin_key
    if fresh:
        store_key_of_folder(running.data, fresh)
    key = fresh or key_of_folder(running.data)
    credentials = running.credentials(key)
    where = store_credentials(credentials)
    output.facts({**_where(credentials), "data": str(running.data)})
    if fresh and show_key:
        output.say(f"Your admin key, shown this once (your own commands find it in {where}):\n  {fresh}")
    elif not key:
        output.warn(f"No key of this folder is stored here. `regrow keys reset --data {running.data}` makes one.")
    return credentials


def _where(credentials: Credentials) -> dict[str, str]:
    trust = {"authority": credentials.ca_file} if credentials.ca_file else {}
    return {"REST": credentials.url, "gRPC": credentials.grpc_address.removeprefix("https://"), **trust}


def _up_detached(data: Path, free_ports: bool, tls: bool, settings: dict[str, str]) -> None:
    check_installed()
    data = data.absolute()
    known = key_of_folder(data)
    refuse_unfit(data)
    log = data / "logs" / "up.log"
    command = [sys.executable, "-m", "regrow.cli", "up", "--background", "--data", str(data)]
    command += (
        ["--free-ports"] * free_ports
        + ["--tls"] * tls
        + [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    )
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    told = 0
    while not (read_state(data).get("ready") and read_state(data)["supervisor"]["pid"] == process.pid):
        if process.poll() is not None:
            raise LaunchError(_last_error(log))
        told = _tell_waits(log, told)
        time.sleep(0.1)
    state = read_state(data)
    key = key_of_folder(data)
    output.facts({**_where(credentials_of(state, key)), "data": str(data), "process": str(process.pid)})
    if key and key != known:
        output.say(f"Your admin key, shown this once (your own commands have it already):\n  {key}")
    output.tell(f"It runs in the background. `regrow down --data {data}` ends it; its log is {log}.")


def _tell_waits(log: Path, told: int) -> int:
    """Passes on what a start in the background says that it waits for, after the first `told` lines; answers how many now."""
    lines = [line for line in log.read_text(errors="replace").splitlines(True) if line.startswith(NOT_READY)]
    whole = [line.strip() for line in lines if line.endswith("\n")]
    for line in whole[told:]:
        output.tell(line)
    return len(whole)


def _last_error(log: Path) -> str:
    """What a start in the background ended with, without what it waited for before."""
    lines = log.read_text(errors="replace").splitlines(True)
    said = "".join(line for line in lines if not line.startswith(NOT_READY)).strip()
    found = _ERROR.search(said)
    return found[1] if found else said


def down(data: Data = DATA) -> None:
    """Stop the Regrow that runs on a data folder of this machine. What it keeps stays in the folder."""
    if local.end(data):
        output.done(f"Stopped what ran on {data.absolute()}.")
    else:
        output.say(f"Nothing runs on {data.absolute()}.")
