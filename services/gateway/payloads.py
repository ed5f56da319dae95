"""What can be told of an event's payload: its CloudEvents id and type, and its text for a person. Pure."""

from __future__ import annotations

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from regrow.events.v1 import events_pb2
from services.common.events.cloud_events import PROTOBUF
from services.common.events.port import Record

MOST_SHOWN = 64 << 10
"""Bytes of a payload that an answer carries, and characters of its text."""
_MOST_READ = 1 << 20
"""Bytes of JSON that are read for an id: what the door of third parties takes at most."""
_MOST_NAME = 300
_MESSAGES: dict[str, type[Message]] = {
    "regrow.prediction.v1": events_pb2.Prediction,
    "regrow.feedback.v1": events_pb2.Feedback,
    "regrow.registry.v1": events_pb2.RegistryChange,
    "regrow.audit.v1": events_pb2.AuditEvent,
}
"""Regrow's own payloads by their type, in protobuf."""


def identity(record: Record) -> tuple[str, str]:
    """The event's id and type: from its headers in binary mode, from its JSON in structured mode; empty where it has none."""
    headers = record.headers
    if "ce_id" in headers or "ce_type" in headers:
        return headers.get("ce_id", ""), headers.get("ce_type", "")
    try:
        body = orjson.loads(record.value) if len(record.value) <= _MOST_READ else None
    except orjson.JSONDecodeError:
        body = None
    found = body if isinstance(body, dict) else {}
    return _text_of(found.get("id")), _text_of(found.get("type"))


def readable(record: Record) -> str:
    """The payload as text: JSON of Regrow's own messages, others' text as it is; empty for bytes that are neither."""
    headers = {name.lower(): value for name, value in record.headers.items()}
    kind = _MESSAGES.get(headers.get("ce_type", ""))
    if kind is not None and headers.get("content-type", PROTOBUF) == PROTOBUF:
        try:
            return json_format.MessageToJson(kind.FromString(record.value), ensure_ascii=False)[:MOST_SHOWN]
        except (DecodeError, json_format.SerializeToJsonError, ValueError):
            return ""
    try:
        return record.value.decode()[:MOST_SHOWN]
    except UnicodeDecodeError:
        return ""


def _text_of(value: object) -> str:
    return value.encode("utf-8", "replace").decode()[:_MOST_NAME] if isinstance(value, str) else ""
