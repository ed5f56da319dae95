"""What an audit event says of a call, and what it must not say: secrets, and contents without end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.common.rpc.principal import Principal

MOST_JSON_BYTES = 16 << 10
"""What is kept of a resource, before and after each."""
_MOST_NAME, _MOST_WORD = 1000, 200

MACHINE = Principal(key_id="machine", role="admin", name="the operator, on the machine")
"""Who makes the first key, and `regrow keys reset`."""
REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
"""Outcomes of calls that weren't let in: told with where they came from, and with which key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One call, or as many of one kind as `calls` says. `before` and `after` are JSON, empty for nothing; `project` is an id,
    empty for a call about none."""

    time: datetime
    request_id: str
    method: str
    resource: str
    project: str
    actor: Principal
    source: str = ""
    outcome: str = "OK"
    reason: str = ""
    before: str = ""
    after: str = ""
    calls: int = 1


def resource_of(message: Message | None) -> str:
    """The name of the resource that a request or an answer is about: its own, its parent's, or that of what it holds.

    What is to be made and has no name yet is told by the first project that it is for.
    """
    for field in ("name", "parent"):
        name = getattr(message, field, "")
        if isinstance(name, str) and name:
            return name[:_MOST_NAME]
    for child in _children(message.DESCRIPTOR) if message is not None else ():
        if name := str(getattr(getattr(message, child), "name", ""))[:_MOST_NAME]:
            return name
    for child in _children(message.DESCRIPTOR) if message is not None else ():
        for field in ("projects", "models"):
            for name in getattr(getattr(message, child), field, ()):
                return str(name)[:_MOST_NAME]
    return ""


def address_of(peer: str) -> str:
    """gRPC tells `ipv4:10.0.0.1:1234` and `ipv6:%5B::1%5D:1234`, REST the address alone."""
    return unquote(re.sub("^ipv[46]:", "", peer))


def bare(answer: Message) -> Message:
    """The resource in an answer that holds it beside a secret; any other answer as it is."""
    descriptor: Any = answer.DESCRIPTOR
    secret = [field.name for field in descriptor.fields if field.GetOptions().debug_redact]
    others = [field.name for field in descriptor.fields if field.name not in secret]
    if secret and len(others) == 1 and others[0] in _children(descriptor):
        found: Message = getattr(answer, others[0])
        return found
    return answer


def project_of(resource: str) -> str:
    """`shop` of `projects/shop/models/reviews`; empty for what is in no project."""
    collection, _, rest = resource.partition("/")
    return rest.partition("/")[0][:_MOST_WORD] if collection == "projects" else ""


def as_json(message: Message | None) -> str:
    """A resource as it is kept. Fields marked `debug_redact` in the protos are left out, and what is too large is cut."""
    if message is None or not message.ByteSize():
        return ""
    if message.ByteSize() > 64 * MOST_JSON_BYTES:
        return _cut(message.ByteSize(), "")
    descriptor: Any = message.DESCRIPTOR
    content = _without_secrets(json_format.MessageToDict(message), descriptor)
    text = orjson.dumps(content).decode()
    return text if len(text) <= MOST_JSON_BYTES else _cut(len(text), text)


def secret_fields(descriptor: Descriptor) -> frozenset[str]:
    """JSON names of the message's own fields that are marked `debug_redact`."""
    return frozenset(field.json_name for field in descriptor.fields if field.GetOptions().debug_redact)


def _cut(size: int, text: str) -> str:
    return orjson.dumps({"cut": True, "bytes": size, "beginning": text[: MOST_JSON_BYTES // 4]}).decode()


def _without_secrets(content: Mapping[str, Any], descriptor: Descriptor) -> dict[str, Any]:
    hidden, kept = secret_fields(descriptor), dict[str, Any]()
    for name, value in content.items():
        if name in hidden:
            continue
        inner = _message_of(descriptor, name)
        if inner is None:
            kept[name] = value
        elif isinstance(value, list):
            kept[name] = [_without_secrets(one, inner) if isinstance(one, dict) else one for one in value]
        else:
            kept[name] = _without_secrets(value, inner) if isinstance(value, dict) else value
    return kept


@cache
def _message_of(descriptor: Descriptor, json_name: str) -> Descriptor | None:
    """The message type of a field that isn't a map and isn't one of protobuf's own, which have JSON forms of their own."""
    field = next((one for one in descriptor.fields if one.json_name == json_name), None)
    found: Descriptor | None = field.message_type if field is not None else None
    if found is None or found.GetOptions().map_entry or found.full_name.startswith("google.protobuf."):
        return None
    return found


@cache
def _children(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in descriptor.fields if not field.is_repeated and _has_name(field))


def _has_name(field: FieldDescriptor) -> bool:
    return field.message_type is not None and "name" in field.message_type.fields_by_name
