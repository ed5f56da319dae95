"""`deploy/compose.yaml` as an engine reads it: anchors merged, variables filled in from `example.env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
OURS = ("registry", "labeling", "training", "gateway")
_VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")


def raw() -> dict[str, Any]:
    """As it is written, without the anchors' own keys."""
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return {key: value for key, value in content.items() if not key.startswith("x-")}


def variables() -> dict[str, str]:
    """Of `example.env`."""
    lines = (line.strip() for line in (DEPLOY / "example.env").read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def used_variables() -> set[str]:
    return {name for name, _ in _VARIABLE.findall((DEPLOY / "compose.yaml").read_text())}


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """`${NAME:-default}` everywhere replaced."""
    if isinstance(value, dict):
        return {key: filled(one, known) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, known) for one in value]
    return _VARIABLE.sub(lambda found: known.get(found[1]) or found[2], value) if isinstance(value, str) else value


def composed() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = filled(raw(), variables())["services"]
    return found
