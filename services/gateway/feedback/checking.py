"""What is wrong with a piece of feedback, by field. Pure.

A label is checked against the champion's spec, so that a wrong class is told to who sent it and not found weeks later. A
`prediction_id` isn't looked up here: labeling joins it, for the prediction may still be on its way to the log.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from regrow.gateway.v1 import gateway_pb2
from services.common.bundle.values import none_of, read_rows
from services.common.errors import FieldProblem, InvalidField
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import plain

MOST_ID, MOST_PREDICTION, MOST_SOURCE = 200, 100, 100
"""Characters, as the proto says; a stream checks them piece by piece."""
LOG_SOURCE = "log:"
"""Begins the source of what a third party wrote to the event log itself: nobody else can speak in its name."""
_MOST_CLASSES = 10_000
MOST_AHEAD_SECONDS = 300
"""How far clocks may differ. What was observed last counts, so a time that is yet to come would win over every later label."""
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


def is_plain(sent: gateway_pb2.Feedback, loaded: Loaded) -> bool:
    """Whether it is of the usual kind and all right: a prediction's id and one class by its name. Quick, and never wrong."""
    names = sent.class_names
    return (
        len(names) == 1
        and names[0] in loaded.class_of
        and 0 < len(sent.prediction_id) <= MOST_PREDICTION
        and len(sent.event_id) <= MOST_ID
        and len(sent.source) <= MOST_SOURCE
        and not sent.HasField("features")
        and not sent.HasField("observe_time")
        and "\0" not in sent.prediction_id
        and "\0" not in sent.event_id
        and "\0" not in sent.source
        and not sent.source.lstrip().startswith(LOG_SOURCE)
    )


def problems(sent: gateway_pb2.Feedback, loaded: Loaded, prefix: str = "", *, source: str = "") -> list[FieldProblem]:
    """Everything that is wrong; `prefix` comes before the field's name. `source` is one that may begin with `LOG_SOURCE`."""
    found = [*_text_problems(sent, source)]
    if bool(sent.prediction_id) == sent.HasField("features"):
        what = "and features exclude each other: send one" if sent.prediction_id else "or features must say what this is about"
        found.append(("prediction_id", f"{what}."))
    elif sent.HasField("features"):
        found += _feature_problems(sent, loaded)
    found += _class_problems(sent, loaded)
    if sent.HasField("observe_time") and (wrong := time_problem(sent.observe_time)):
        found.append(("observe_time", wrong))
    return [FieldProblem(field=f"{prefix}{field}", problem=problem) for field, problem in found]


def time_problem(observed: Timestamp) -> str:
    """What is wrong with when a label became known; nothing where it is all right."""
    if not _FIRST_SECOND <= observed.seconds <= _LAST_SECOND:
        return "lies outside the years 1 to 9999."
    if observed.seconds <= (now := time.time()) + MOST_AHEAD_SECONDS:
        return ""
    clock = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"'{observed.ToJsonString()}' is yet to come: the gateway's clock shows {clock}, and a time may be"
        f" {MOST_AHEAD_SECONDS // 60} minutes ahead of that at most. Send when the label became known, with the right offset"
        " from UTC, or leave it out for now."
    )


def _text_problems(sent: gateway_pb2.Feedback, source: str) -> list[tuple[str, str]]:
    bounds = (("event_id", MOST_ID), ("prediction_id", MOST_PREDICTION), ("source", MOST_SOURCE))
    found = [
        (name, f"must have at most {most} characters, none of them NUL.")
        for name, most in bounds
        if len(getattr(sent, name)) > most or "\0" in getattr(sent, name)
    ]
    if sent.source.strip().startswith(LOG_SOURCE) and sent.source != source:
        found.append(("source", f"must not begin with '{LOG_SOURCE}': that is what writes to the event log itself."))
    return found


def _feature_problems(sent: gateway_pb2.Feedback, loaded: Loaded) -> list[tuple[str, str]]:
    row, inputs = plain(sent.features), loaded.bundle.manifest.inputs
    if not any(column.name in row for column in inputs):
        return [("features", none_of(inputs))]
    try:
        read_rows([row], inputs)
    except InvalidField as error:
        return [(f"features.{one.field.removeprefix('rows[0].')}", one.problem) for one in error.problems]
    return []


def _class_problems(sent: gateway_pb2.Feedback, loaded: Loaded) -> list[tuple[str, str]]:
    spec, names = loaded.bundle.spec, list(sent.class_names)
    if not spec.multi_label and len(names) != 1:
        return [("class_names", f"must be exactly one class, not {len(names)}: a row of this model has one.")]
    if len(names) > _MOST_CLASSES:
        return [("class_names", f"must be at most {_MOST_CLASSES:,} classes.")]
    listed = ", ".join(spec.class_names[:20]) + (", ..." if len(spec.class_names) > 20 else "")
    return [
        (f"class_names[{index}]", f"'{name[:80]}' is no class of this model. Its classes: {listed}.")
        for index, name in enumerate(names)
        if name.strip() not in loaded.class_of
    ]
