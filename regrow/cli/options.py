"""Options that many commands share, and the client that they make."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from regrow import names
from regrow.cli import output
from regrow.client import Client
from regrow.credentials import Credentials, credentials_of_folder, stored_credentials
from regrow.local.processes import is_alive
from regrow.local.supervisor import read_state

PATIENCE = 8.0
"""How long a command tries to reach a gateway that may be restarting, in seconds."""

Project = Annotated[str, typer.Option("--project", "-p", envvar="REGROW_PROJECT", help="The project that names belong to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the REST API answers it.")]
Filter = Annotated[str, typer.Option("--filter", help='Only those that meet this, like: create_time > "2026-01-01".')]
OrderBy = Annotated[str, typer.Option("--order-by", help='Another order, like: "create_time desc".')]
Most = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most this many.")]
_DATA_HELP = (
    "The data folder of a Regrow on this machine. As REGROW_DATA_DIR, it leads every command to the one that runs on it."
)
Data = Annotated[Path, typer.Option("--data", envvar="REGROW_DATA_DIR", help=_DATA_HELP)]
DATA = Path(".regrow")
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Mistake(Exception):
    """Something that the person at the keyboard can mend; its text says what and how. Ends the command with exit code 1."""


def connect(project: str = "default", data: Path | None = None, *, retry_for: float | None = None) -> Client:
    """A client for the gateway that the environment names, else the one that runs on `data`, else the one of the login.

    Where that isn't the one of the folder that one stands in, or that `REGROW_DATA_DIR` names, it says so.
    """
    known = credentials_for(data)
    if other := another_gateway(known, data):
        output.tell(f"{other} That of the login is asked.")
    return client_of(known, project, retry_for=retry_for)


def client_of(known: Credentials, project: str = "default", *, retry_for: float | None = None) -> Client:
    """A client with these credentials."""
    patience = PATIENCE if retry_for is None else retry_for
    return Client(known.grpc_address, known.key, project=project, retry_for=patience, ca_file=known.ca_file)


def credentials_for(data: Path | None) -> Credentials:
    """Those of the environment, else of what runs on the folder, else of the login."""
    running = None if data is None or _is_named() else credentials_of_folder(data)
    return running if running is not None and running.key else stored_credentials()


def another_gateway(known: Credentials, data: Path | None = None) -> str:
    """A sentence where a folder of `regrow up` is named, or stood in, and another gateway would be asked; else nothing."""
    named = data or (Path(folder) if (folder := os.environ.get("REGROW_DATA_DIR")) else None)
    folder_here = named or DATA
    if _is_named() or not (folder_here / "lock").exists():
        return ""
    if not is_alive(read_state(folder_here).get("supervisor", {})):
        return f"Nothing runs on {folder_here}; the login is for {known.grpc_address}." if named not in (None, DATA) else ""
    running = credentials_of_folder(folder_here)
    if running is None or running.grpc_address == known.grpc_address:
        return ""
    mend = f"REGROW_DATA_DIR={folder_here} takes it" if running.key else f"`regrow keys reset --data {folder_here}` makes a key"
    return f"On {folder_here} runs {running.grpc_address} ({mend}); the login is for {known.grpc_address}."


def _is_named() -> bool:
    """Whether the environment names the gateway itself, which beats all."""
    return bool(os.environ.get("REGROW_GRPC"))


def has_login() -> bool:
    """Whether a key is stored, or named by the environment."""
    return bool(stored_credentials().key)


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """`name=value` options as a dict. Raises `Mistake`."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Mistake(f"{option} '{text}' is not of the form name=value.")
        found[name] = value
    return found


def span(text: str, option: str) -> timedelta:
    """`90d`, `12h`, `30m`, `10s`. Raises `Mistake`."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise Mistake(f"{option} '{text}' is no length of time. Write 90d, 12h, 30m or 10s.")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def nested_name(parents: str, collection: str, name: str, project: str) -> str:
    """`reviews/gold` as the full name of a label set, say. Raises `Mistake`."""
    try:
        return names.nested(parents, collection, name, project)
    except ValueError as error:
        raise Mistake(str(error)) from None
