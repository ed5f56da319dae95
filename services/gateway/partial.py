"""Partial answers (AIP-157): a caller of any call with one answer says which fields it wants.

Over REST by the system parameter `$fields` (or `fields`) or the header `X-Goog-FieldMask`, over gRPC by the metadata of that
name; paths with commas between. It is a system parameter rather than a field of each request, so it works on all calls alike,
those that are made later too.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.common.masks import ReadMask, read_mask
from services.gateway.http import Exchange
from services.gateway.methods import Method

FIELDS_KEY = "x-goog-fieldmask"
_HEADER = FIELDS_KEY.encode()
_NAMES = frozenset({b"fields", b"$fields", b"%24fields"})


def taken_fields(exchange: Exchange) -> str | None:
    """What the caller asks for, taken out of the query; None where it doesn't."""
    asked = exchange.header(_HEADER) or None
    if b"fields" not in exchange.query:
        return asked
    others = []
    for pair in exchange.query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name.lower() in _NAMES:
            asked = unquote_plus(value.decode("latin-1"), errors="replace")
        else:
            others.append(pair)
    exchange.query = b"&".join(others)
    return asked


def mask_for(method: Method, fields: str) -> ReadMask | None:
    """Raises `InvalidField` for fields that the answer hasn't, and for a call that streams or answers a file."""
    if method.streams_responses:
        raise InvalidField("fields", "works on calls with one answer; this one streams.")
    return read_mask(fields, method.response.DESCRIPTOR)


def masked(method: Method, response: Message | bytes, mask: ReadMask) -> Message:
    """The answer with the fields that are asked for."""
    message: Any = response if isinstance(response, Message) else method.response.FromString(response)
    mask.keep(message)
    return message  # type: ignore[no-any-return]
