"""A small JSON document over HTTP, for what an operator named in the settings: bounded in size and time, no redirects.

Blocks: call it in a thread. Nothing that a caller of the API says decides what is fetched.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from services.common.errors import EngineUnavailable, InvalidField
from services.gateway.tokens.rules import check_url

_SECONDS = 5.0
_MOST_BYTES = 512 << 10
_CHUNK = 16 << 10

ENGINE = "identity provider"


def fetch_json(url: str) -> dict[str, Any]:
    """The object at a URL. Raises `EngineUnavailable` for whatever goes wrong."""
    try:
        content = json.loads(_fetch(check_url(url, "url")))
    except (OSError, http.client.HTTPException, ValueError, RecursionError, InvalidField):
        # What was wrong stays here: a text of the other side or of the network isn't for callers.
        raise EngineUnavailable(ENGINE, "its keys can't be read") from None
    if not isinstance(content, dict):
        raise EngineUnavailable(ENGINE, "its keys can't be read")
    return content


def _fetch(url: str) -> bytes:
    parts = urlsplit(url)
    end = time.monotonic() + _SECONDS
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=_HEADERS)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        content = bytearray()
        while chunk := answer.read1(_CHUNK):
            content += chunk
            if len(content) > _MOST_BYTES or time.monotonic() > end:
                raise ValueError("too large or too slow")
        return bytes(content)
    finally:
        connection.close()


_HEADERS = {"accept": "application/json", "user-agent": "regrow"}


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_SECONDS)
