"""`google.protobuf.Duration` as Python has it, where the caller wrote it."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from services.common.errors import InvalidField

_LONGEST = timedelta(seconds=315_576_000_000)
"""The proto's own bound."""


def span(sent: Duration, field: str) -> timedelta:
    """The time that a caller wrote into a field. Raises `InvalidField` for what the type doesn't allow."""
    try:
        found = sent.ToTimedelta()
    except (OverflowError, ValueError):
        found = None
    if found is None or abs(found) > _LONGEST:
        raise InvalidField(field, "is longer than 10,000 years, or its nanos don't fit its seconds.")
    return found
