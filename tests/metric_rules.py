"""What holds for every metric: https://prometheus.io/docs/practices/naming/, and labels whose values the program fixes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc

import regrow
from services.common.events import TOPICS
from services.gateway.methods import FILES
from services.labeling.feedback.fates import VOTED
from services.labeling.feedback.rules import Fate, Reason
from services.training.policies.rules import State as RegrowthState
from services.training.runs.rules import State as RunState

UNITS = ("seconds", "bytes", "events", "calls", "rows", "info", "ratio")
COUNTED = (
    "requests", "running", "errors", "swaps", "runs", "regrowths", "loaded", "ready", "unlogged", "streams",
    "evictions", "records", "predictions",
)  # fmt: skip
"""Last words of names whose unit is what they count."""

LABELS: dict[str, Callable[[str], bool]] = {
    "service": {"gateway", "labeling", "training", "registry"}.__contains__,
    "version": {regrow.__version__}.__contains__,
    "code": {code.name for code in grpc.StatusCode}.__contains__,
    "method": lambda value: value in _methods(),
    "topic": {topic.name for topic in TOPICS}.__contains__,
    "group": {"labeling", "training", "gateway.feedback-in"}.__contains__,
    "outcome": {"handled", "accepted", "dead_letter", "swapped", "failed"}.__contains__,
    "fate": {VOTED, *map(str, Fate), *map(str, Reason), "kept", "logged"}.__contains__,  # the last two are of audit events
    "why": {"busy", "deadline", "gone"}.__contains__,
    "since": {"observe", "accept"}.__contains__,
    "operation": {"put", "get", "stat", "list", "delete"}.__contains__,
    "state": {*map(str, RunState), *map(str, RegrowthState)}.__contains__,
    "certificate": {"own", "public"}.__contains__,
    "le": lambda value: value == "+Inf" or float(value) >= 0,
}


def problems_of(family: Any) -> Iterator[str]:
    """Everything that is wrong with a metric family, as `prometheus_client` parses it."""
    if family.name.startswith(("python_", "process_")):
        return  # the client library's own
    if not re.fullmatch(r"regrow_[a-z]+(_[a-z]+)*", family.name):
        yield f"{family.name} isn't regrow_ and words"
    if family.name.rpartition("_")[2] not in (*UNITS, *COUNTED):
        yield f"{family.name} ends with no unit"
    if not family.documentation.endswith("."):
        yield f"{family.name} isn't documented in a sentence"
    for sample in family.samples:
        if family.type == "counter" and not sample.name.endswith(("_total", "_created")):
            yield f"{sample.name} is a counter without _total"
        for label, value in sample.labels.items():
            if label not in LABELS or not LABELS[label](value):
                yield f"{sample.name} has {label}={value!r}"


def _methods() -> set[str]:
    files = [importlib.import_module(f"{name}_pb2").DESCRIPTOR for name in FILES]
    return {
        f"{service.full_name}/{method.name}"
        for file in files for service in file.services_by_name.values() for method in service.methods
    }  # fmt: skip
