"""How work says what it waits for while an engine or another service is away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import EngineUnavailable, Unavailable

_ENGINES = {"objects": "the object store", "events": "the event log", "database": "the database"}
_CURE = " Try again in a moment."


def waited_for(error: Unavailable) -> str:
    """`the object store, which can't be reached: the store doesn't answer`: to be read after "It waits for"."""
    return _named(error.message)


def noted(database: Database, write: Callable[[Session], None]) -> None:
    """Keeps what work waits for; while it is the database that is away, nobody can look."""
    with suppress(Unavailable), database.session() as session:
        write(session)


def problem_of(outcome: Mapping[str, Any], patience: timedelta) -> str:
    """Why work failed, by its `reason` and `message`: of an engine that stayed away, also how long it was waited for."""
    message = str(outcome.get("message"))
    if outcome.get("reason") != EngineUnavailable.reason:
        return message
    return f"It waited {patience} for {_named(message)}. Submit it again when that is back."


def _named(message: str) -> str:
    what, told, why = message.removesuffix(_CURE).removesuffix(".").partition(" can't be reached: ")
    return f"{_ENGINES.get(what, what)}, which can't be reached: {why}" if told else what
