"""Records of the log, read into events. What can't be read is `InvalidInput`: it goes to the dead-letter topic."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.events.v1 import events_pb2
from services.common import names
from services.common.errors import InvalidField
from services.common.events.port import Record
from services.common.structs import plain_struct
from services.labeling.feedback.rules import FeedbackEvent, Origin, PredictionEvent

_MODEL = "projects/{project}/models/{model}"
_LONGEST_PREDICTION, _LONGEST_EVENT, _LONGEST_SOURCE = 400, 300, 120
"""Characters, so that what names a vote or a subject fits its column."""

M = TypeVar("M", bound=Message)


def read_prediction(record: Record) -> PredictionEvent:
    """Raises `InvalidField`."""
    message = _parsed(events_pb2.Prediction, record)
    return PredictionEvent(
        model=_model(message.model),
        prediction=_id(message.prediction_id, "prediction_id", _LONGEST_PREDICTION),
        version=message.version,
        features=_text(message.features),
        problem_spec=message.problem_spec,
        dataset=message.dataset,
    )


def read_feedback(record: Record) -> FeedbackEvent:
    """Raises `InvalidField`. The gateway's time counts; where it says none, the log's."""
    message = _parsed(events_pb2.Feedback, record)
    accepted = _time(message.accept_time, "accept_time") if message.HasField("accept_time") else record.time
    observed = _time(message.observe_time, "observe_time") if message.HasField("observe_time") else accepted
    return FeedbackEvent(
        model=_model(message.model),
        event_id=_id(message.event_id, "event_id", _LONGEST_EVENT),
        prediction=_id(message.prediction_id, "prediction_id", _LONGEST_PREDICTION) if message.prediction_id else "",
        features=_text(message.features) if message.HasField("features") else None,
        classes=tuple(message.class_names),
        source=_source(message.source),
        problem_spec=message.problem_spec,
        dataset=message.dataset,
        accepted=accepted,
        observed=observed,
        origin=Origin(topic=record.topic, partition=record.partition, offset=record.offset),
    )


def _parsed(kind: type[M], record: Record) -> M:
    try:
        return kind.FromString(record.value)
    except DecodeError:
        raise InvalidField("value", f"isn't a {kind.DESCRIPTOR.full_name} message.") from None


def _time(time: Timestamp, field: str) -> datetime:
    try:
        return time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, "lies outside the years 1 to 9999.") from None


def _model(name: str) -> str:
    names.parse(_MODEL, name, field="model")
    return name


def _id(value: str, field: str, longest: int) -> str:
    if not value or len(value) > longest or "\0" in value:
        raise InvalidField(field, f"must have 1 to {longest} characters, none of them NUL.")
    return value


def _source(name: str) -> str:
    if len(name) > _LONGEST_SOURCE or "\0" in name:
        raise InvalidField("source", f"must have at most {_LONGEST_SOURCE} characters, none of them NUL.")
    return name or "unknown"


def _text(features: Struct) -> str:
    return json.dumps(plain_struct(features), ensure_ascii=False)
