"""CloudEvents 1.0 in binary mode: the attributes travel as headers beside the payload, named as in the Kafka binding.

An event's identity is (source, id): a consumer that meets a pair again has met the event before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.common.errors import InvalidField

SPEC_VERSION = "1.0"
PROTOBUF = "application/protobuf"

_PREFIX = "ce_"
_NAMED = {"ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time", "ce_subject"}
_EXTENSION = re.compile(r"ce_[a-z0-9]{1,20}")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_URI_REFERENCE = re.compile(r"[^\s<>\"{}|\\^`\x00-\x1f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """The attributes of one event. `extensions` are those that the specification doesn't name, such as `traceparent`."""

    id: str
    type: str
    source: str
    time: datetime
    content_type: str = PROTOBUF
    subject: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)


def envelope(
    *,
    id: str,
    type: str,
    source: str,
    time: datetime,
    subject: str | None = None,
    content_type: str = PROTOBUF,
    extensions: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers of an event. Raises `InvalidField` where `read_envelope` would."""
    headers = {"ce_id": id, "ce_type": type, "ce_source": source, "ce_specversion": SPEC_VERSION}
    headers |= {"ce_time": time.isoformat(), "content-type": content_type}
    headers |= {} if subject is None else {"ce_subject": subject}
    headers |= {_PREFIX + name: value for name, value in (extensions or {}).items()}
    read_envelope(headers)
    return headers


def read_envelope(headers: Mapping[str, str]) -> CloudEvent:
    """The attributes in a record's headers. Raises `InvalidField`, whose field is the first header that is wrong.

    `ce_time` is required here, though the specification leaves it open: retention and late labels depend on it.
    """
    if (version := _required(headers, "ce_specversion")) != SPEC_VERSION:
        raise _wrong("ce_specversion", f"{version[:20]!r} is a version that Regrow doesn't read; send '{SPEC_VERSION}'.")
    source = _required(headers, "ce_source")
    if not _URI_REFERENCE.fullmatch(source):
        raise _wrong("ce_source", f"{source[:80]!r} is no URI reference.")
    if headers.get("ce_subject") == "":
        raise _wrong("ce_subject", "it is empty; leave it out or say something.")
    return CloudEvent(
        id=_required(headers, "ce_id"),
        type=_required(headers, "ce_type"),
        source=source,
        time=_time(_required(headers, "ce_time")),
        content_type=_required(headers, "content-type"),
        subject=headers.get("ce_subject"),
        extensions=_extensions(headers),
    )


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value.strip():
        raise _wrong(name, "it is missing or empty; every event needs it.")
    return value


def _time(text: str) -> datetime:
    try:
        if _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # the 31st of February; told below
    raise _wrong("ce_time", f"{text[:40]!r} is no RFC 3339 time with a zone, such as 2026-01-31T09:30:00Z.")


def _extensions(headers: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in headers.items() if name.startswith(_PREFIX) and name not in _NAMED}
    for name in found:
        if not _EXTENSION.fullmatch(name):
            raise _wrong(name[:40], "an extension's name is 1 to 20 lower-case letters and digits.")
    return {name.removeprefix(_PREFIX): value for name, value in found.items()}


def _wrong(header: str, problem: str) -> InvalidField:
    return InvalidField(f"headers.{header}", problem)
