"""The queries of dashboards and alert rules, and the metrics that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml


def panels(dashboard: Path) -> Iterator[tuple[str, str]]:
    """(panel and query, PromQL) with Grafana's own variables filled in."""
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "5m")


def alerts(rules: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]]


def metric_names(query: str) -> set[str]:
    """Raises `ValueError` for what is no PromQL."""
    return set(_selected(promql_parser.parse(query)))


def _selected(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector.name
    for part in ("expr", "lhs", "rhs", "param"):
        if (below := getattr(node, part, None)) is not None and not isinstance(below, str):
            yield from _selected(below)
    for argument in getattr(node, "args", None) or ():
        yield from _selected(argument)
