"""`If-Match` and `ETag` (RFC 9110): the etag of a resource, as HTTP has it. Over gRPC it is a field alone.

A change with an old etag is refused the same way (ABORTED, 409) wherever the etag stands, in the header or in the request.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.gateway.http import Headers
from services.gateway.methods import Binding, Method, public_methods

IF_MATCH = b"if-match"
_FIELD = "etag"
_HEADER = "If-Match"
_ONE = re.compile(r'\s*"([\x21\x23-\x7e]+)"\s*')
_ANY = "*"
_CREATING = "SetAlias"
"""Without an etag it makes what must not exist yet, so that `*`, which means what exists, would mean the contrary."""


def wanted_etag(sent: str, method: Method, binding: Binding) -> str:
    """The etag that a header's value asks for; empty for `*`. Raises `InvalidField`, also where the call reads none."""
    if sent.strip() == _ANY and method.name != _CREATING:
        return ""
    if etag_owner(method, binding) is None:
        raise InvalidField(_HEADER, "isn't read by this call: it would change whatever is there now. Leave it out.")
    found = _ONE.fullmatch(sent)
    if found is None:
        raise InvalidField(_HEADER, 'must be one etag in quotes, as the header ETag gives it, like "0123abcd".')
    return found[1]


def set_etag(request: Any, etag: str, method: Method, binding: Binding) -> None:
    """Puts the header's etag where the request has its own. Raises `InvalidField` where both are there and differ."""
    owner = etag_owner(method, binding)
    if not etag or owner is None:
        return
    holder = getattr(request, owner) if owner else request
    if holder.etag not in ("", etag):
        raise InvalidField(f"{owner}.{_FIELD}" if owner else _FIELD, f"differs from the header {_HEADER}. Send one of them.")
    holder.etag = etag


def etag_owner(method: Method, binding: Binding) -> str | None:
    """Which field of the request holds the etag: empty for the request itself, None for a call that compares none."""
    fields = method.request.DESCRIPTOR.fields_by_name
    if _FIELD in fields:
        return ""
    body = fields.get(binding.body)
    if binding.verb != "PATCH" or body is None or body.message_type is None:
        return None
    return binding.body if _FIELD in body.message_type.fields_by_name else None


@cache
def tagged() -> frozenset[str]:
    """Paths of the calls whose answer is a resource with an etag."""
    return frozenset(path for path, one in public_methods().items() if _FIELD in one.response.DESCRIPTOR.fields_by_name)


def etag_header(answer: Message) -> Headers:
    """What an answer of a tagged call carries."""
    etag: str = getattr(answer, _FIELD)
    return [(b"etag", f'"{etag}"'.encode())] if etag else []
