"""Pages of lists (AIP-158): sizes are coerced, never refused, and a token is opaque to callers.

wanted = page(request.page_size, request.page_token, query=request.filter)
rows = rows_after(wanted.after, wanted.limit + 1)
token = encode_token({"id": rows[wanted.limit - 1].id}, query=request.filter) if len(rows) > wanted.limit else ""
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.common.errors import InvalidField

Key = str | int | float | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """At most `limit` items, starting behind the sort key `after`; `after` is None on the first page."""

    limit: int
    after: Mapping[str, Key] | None


def page(size: int, token: str, default: int = 50, most: int = 1000, *, query: str = "") -> Page:
    """Reads `page_size` and `page_token`. 0 asks for the default, more than `most` gets `most`.

    `query` is whatever must stay the same from page to page (parent, filter, order). Raises `InvalidField`.
    """
    if size < 0:
        raise InvalidField("page_size", f"must not be negative, not {size}. Leave it out for {default}.")
    return Page(limit=min(size or default, most), after=_decode(token, query) if token else None)


def part_of(items: Sequence[T], size: int, token: str, *, query: str) -> tuple[Sequence[T], str]:
    """A page of a list that is in memory whole and never changes, and the token of the next. Raises `InvalidField`."""
    wanted = page(size, token, query=query)
    began = int((wanted.after or {}).get("number") or 0)
    ended = began + wanted.limit
    return items[began:ended], encode_token({"number": ended}, query=query) if ended < len(items) else ""


def encode_token(after: Mapping[str, Key], *, query: str = "") -> str:
    """The token of the page behind the item whose sort key is `after`."""
    content = json.dumps([dict(after), _print(query)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _decode(token: str, query: str) -> dict[str, Key]:
    try:
        content = json.loads(base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        content = None
    match content:
        case [dict() as after, str() as printed] if all(map(_is_key, after.values())):
            if printed == _print(query):
                return after
            raise InvalidField("page_token", "belongs to a list call with other arguments. Start again without a token.")
    raise InvalidField("page_token", "isn't a token that this service made. Start again without one.")


def _is_key(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _print(query: str) -> str:
    return hashlib.sha256(query.encode("utf-8", "surrogatepass")).hexdigest()[:8] if query else ""
