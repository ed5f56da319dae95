"""Tries every public method of others' clients: found by introspection, so one that a later client adds can't be forgotten.

Runs in the peers' environments, on the standard library alone.
"""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any


def public_methods(owner: type) -> list[str]:
    """By name; `close` comes last."""
    names = [name for name, _ in inspect.getmembers(owner, callable) if not name.startswith("_")]
    return sorted(names, key=lambda name: name == "close")


async def outcomes(
    owner: type, trial: object, excluded: Mapping[str, str], refused: Callable[[str], Awaitable[Any]]
) -> dict[str, str]:
    """By method of `owner`: `passed`, `excluded: <reason>`, `untried`, or `failed: <where>`.

    `trial` has a `try_<method>` for each that should work. Those that are excluded are tried too: `refused` calls one, and
    fails where it isn't refused.
    """
    found = {}
    for name in public_methods(owner):
        test = getattr(trial, f"try_{name}", None)
        if name not in excluded and test is None:
            found[name] = "untried"
            continue
        try:
            await (refused(name) if name in excluded else test())
        except Exception:
            found[name] = f"failed: {traceback.format_exc()}"
        else:
            found[name] = f"excluded: {excluded[name]}" if name in excluded else "passed"
    for name in set(excluded) & {name.removeprefix("try_") for name in dir(trial)}:
        found[name] = "failed: it is both excluded and tried"
    return found


def tell(found: Mapping[str, Mapping[str, str]]) -> None:
    """Writes what came of each client's methods, for `clients.py`."""
    print(json.dumps(found))
