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


def composed(*, tls: bool = False) -> dict[str, dict[str, Any]]:
    """The services. With `tls`, `compose.tls.yaml` is laid over: its variables and volumes beside, its checks instead."""
    found: dict[str, dict[str, Any]] = filled(raw(), variables())["services"]
    added = yaml.safe_load((DEPLOY / "compose.tls.yaml").read_text())["services"] if tls else {}
    for name, service in added.items():
        assert set(service) <= {"environment", "volumes", "healthcheck"}, "whatever else is laid over isn't merged here"
        found[name]["environment"] = {**found[name]["environment"], **service["environment"]}
        found[name]["volumes"] = [*found[name]["volumes"], *service["volumes"]]
        found[name]["healthcheck"] = {**found[name]["healthcheck"], **service.get("healthcheck", {})}
    return found
