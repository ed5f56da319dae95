"""Options that many commands share, and the client that they make."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from regrow import names
from regrow.client import Client
from regrow.credentials import stored_credentials

PATIENCE = 8.0
"""How long a command tries to reach a gateway that may be restarting, in seconds."""

Project = Annotated[str, typer.Option("--project", "-p", envvar="REGROW_PROJECT", help="The project that names belong to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the REST API answers it.")]
Filter = Annotated[str, typer.Option("--filter", help='Only those that meet this, like: create_time > "2026-01-01".')]
OrderBy = Annotated[str, typer.Option("--order-by", help='Another order, like: "create_time desc".')]
Most = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most this many.")]
Data = Annotated[Path, typer.Option("--data", envvar="REGROW_DATA_DIR", help="The data folder of a Regrow on this machine.")]
DATA = Path(".regrow")
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Mistake(Exception):
    """Something that the person at the keyboard can mend; its text says what and how. Ends the command with exit code 1."""


def connect(project: str = "default") -> Client:
    """A client for the gateway that is stored, or named by the environment."""
    return Client(project=project, retry_for=PATIENCE)


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
