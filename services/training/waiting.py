"""How work says what it waits for while an engine or another service is away."""

from __future__ import annotations

from services.common.errors import Unavailable

_ENGINES = {"objects": "the object store", "events": "the event log", "database": "the database"}
_CURE = " Try again in a moment."


def waited_for(error: Unavailable) -> str:
    """`the object store, which can't be reached: the store doesn't answer`: to be read after "It waits for"."""
    what, told, why = error.message.removesuffix(_CURE).removesuffix(".").partition(" can't be reached: ")
    return f"{_ENGINES.get(what, what)}, which can't be reached: {why}" if told else what
