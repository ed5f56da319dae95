"""The public keys of one issuer, kept: read when they are first needed, read anew when they are old or a key id is unknown.

An issuer that is down stops nobody whose key is known. Unknown ids cause one reading in `RETRY_SECONDS` at most, however
many tokens are made up, and those that wait for a reading share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from services.common.errors import EngineUnavailable
from services.gateway.tokens.fetching import ENGINE, fetch_json

FRESH_SECONDS = 600.0
RETRY_SECONDS = 10.0
_MOST_KEYS = 100
_PUBLIC_KINDS = ("RSA", "EC", "OKP")
_DISCOVERY = "/.well-known/openid-configuration"

log = structlog.get_logger()


class IssuerKeys:
    """Belongs to the event loop; documents are fetched in a thread."""

    def __init__(
        self,
        issuer: str,
        jwks_url: str = "",
        *,
        fetch: Callable[[str], Mapping[str, Any]] = fetch_json,
        fresh_seconds: float = FRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._fetch = fetch
        self._fresh_seconds, self._retry_seconds = fresh_seconds, retry_seconds
        self._keys: dict[str | None, Key] | None = None
        self._read = self._tried = -1e9
        self._reading: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Key | None:
        """The key with this id, or the only one there is for no id. Raises `EngineUnavailable` where none was ever read."""
        if self._keys is None or (kid not in self._keys and (self._reading or self._may_try())):
            await self._refresh()
        elif time.monotonic() - self._read > self._fresh_seconds and self._may_try():
            self._start()  # meanwhile the known ones hold
        return (self._keys or {}).get(kid)

    def _may_try(self) -> bool:
        return time.monotonic() - self._tried >= self._retry_seconds

    async def _refresh(self) -> None:
        if self._reading is None and not self._may_try():
            raise EngineUnavailable(ENGINE, "its keys can't be read", retry_after=timedelta(seconds=self._retry_seconds))
        reading = self._start()
        try:
            # A caller who leaves ends its own waiting, and not the reading of the others.
            await asyncio.shield(reading)
        except EngineUnavailable:
            if self._keys is None:
                raise

    def _start(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._tried = time.monotonic()
            self._reading = asyncio.ensure_future(self._load())
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled() and reading.exception() is not None:
            log.warning("the issuer's keys can't be read; those known hold", issuer=self._issuer)

    async def _load(self) -> None:
        self._keys = await asyncio.to_thread(read_keys, self._issuer, self._jwks_url, self._fetch)
        self._read = time.monotonic()


def read_keys(issuer: str, jwks_url: str = "", fetch: Callable[[str], Mapping[str, Any]] = fetch_json) -> dict[str | None, Key]:
    """An issuer's keys by id, read now. Raises `EngineUnavailable`, also for a discovery document of another issuer."""
    url = jwks_url
    if not url:
        found = fetch(discovery_url(issuer))
        if found.get("issuer") != issuer or not isinstance(found.get("jwks_uri"), str):
            raise EngineUnavailable(ENGINE, "its discovery document isn't its own")
        url = found["jwks_uri"]
        if urlsplit(issuer).scheme == "https" and urlsplit(url).scheme != "https":
            raise EngineUnavailable(ENGINE, "its discovery document leads away from https")
    return _keys_in(fetch(url))


def discovery_url(issuer: str) -> str:
    """Where an issuer says where its keys are."""
    return issuer.rstrip("/") + _DISCOVERY


def _keys_in(document: Mapping[str, Any]) -> dict[str | None, Key]:
    """Keys by id. Those that aren't understood, aren't public or aren't for signatures are left out (RFC 7517, section 5)."""
    listed = document.get("keys")
    keys: dict[str | None, Key] = {}
    for one in listed[:_MOST_KEYS] if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("kty") in _PUBLIC_KINDS and one.get("use", "sig") == "sig":
            with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
                key = import_key(one)
                keys[key.kid] = key
    if not keys:
        raise EngineUnavailable(ENGINE, "it publishes no key")
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys
