"""The keys that are good now, in memory: a call is authenticated without the database.

What this process changes holds at once. What another process changes (a second gateway, `keys reset` on the machine) is
read within `REFRESH_SECONDS`; an unknown prefix is looked up at once, so a new key works everywhere from its first call.
While the database can't be read, the keys known last stay good.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from services.common.database import Database, now
from services.common.errors import EngineUnavailable, Unauthenticated
from services.common.rpc.principal import Principal, current_call
from services.gateway.keys import storage
from services.gateway.keys.rules import NO_LIMITS, UNLIMITED, Key, Pepper, prefix_of
from services.gateway.limits.rules import Limits

REFRESH_SECONDS = 2.0
TOUCH_SECONDS = 30.0
_LOOKUPS_AT_ONCE = 4
_KNOWN_SECRETS = 10_000
_UNKNOWN = "This API key is unknown or revoked. Ask an admin for a new one."

log = structlog.get_logger()


class KeyRing:
    """Belongs to the event loop; the database is read in threads."""

    def __init__(self, database: Database, pepper: Pepper) -> None:
        self._database = database
        self._pepper = pepper
        self._by_id: dict[str, Key] = {}
        self._by_prefix: dict[str, Key] = {}
        self._revoked: set[str] = set()
        self._principals: dict[str, tuple[str, Principal, float]] = {}
        self._used: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def principal(self, authorization: str) -> Principal:
        """Who calls, from the value of the header or metadata `authorization`. Raises `Unauthenticated`."""
        known = self._principals.get(authorization)
        if known is not None:
            key_id, principal, until = known
            moment = time.time()
            if key_id in self._by_id and moment < until:
                self._used[key_id] = int(moment) // 60
                return principal
        return await self._first_time(authorization)

    def put(self, key: Key) -> None:
        """Makes a key good, or no longer good, at once and for ever: a read that began before a change undoes nothing."""
        known = self._by_id.get(key.id)
        if key.revoked is not None or key.id in self._revoked:
            self._revoked.add(key.id)
            self._forget(key.id)
        elif known is None or known.revision <= key.revision:
            if known is not None and replace(known, last_used=key.last_used) != key:
                self._forget(key.id)
            self._by_id[key.id] = key
            self._by_prefix[key.prefix] = key
            if key.former is not None:
                self._by_prefix[key.former.prefix] = key

    def key(self, key_id: str) -> Key:
        """A key that is good now. Raises `Unauthenticated` where it was revoked a moment ago."""
        try:
            return self._by_id[key_id]
        except KeyError:
            raise Unauthenticated(_UNKNOWN) from None

    def limits(self, key_id: str) -> Limits:
        """What is set for a key; the settings decide for a token's subject, and what comes from inside has no limit."""
        key = self._by_id.get(key_id)
        if key is not None:
            return key.limits
        return NO_LIMITS if key_id.startswith("oidc:") else UNLIMITED

    def last_used(self, key: Key) -> datetime | None:
        """To the minute, what isn't written yet included."""
        minute = self._used.get(key.id)
        return datetime.fromtimestamp(minute * 60, UTC) if minute is not None else key.last_used

    async def refresh(self) -> None:
        """Reads all keys anew."""
        keys = await asyncio.to_thread(self._read_all)
        fresh = {key.id for key in keys}
        for gone in [key_id for key_id in self._by_id if key_id not in fresh]:
            self._forget(gone)
        for key in keys:
            self.put(key)

    async def write_uses(self) -> None:
        """Notes in the database which keys were used since the last time."""
        news = {key_id: minute for key_id, minute in self._used.items() if self._written.get(key_id) != minute}
        if news:
            await asyncio.to_thread(self._touch, {k: datetime.fromtimestamp(m * 60, UTC) for k, m in news.items()})
            self._written.update(news)

    async def keep_fresh(self) -> None:
        """Runs until cancelled."""
        next_touch = time.monotonic() + TOUCH_SECONDS
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
                if time.monotonic() >= next_touch:
                    next_touch = time.monotonic() + TOUCH_SECONDS
                    await self.write_uses()
            except EngineUnavailable as error:
                log.warning("keys can't be read; those known stay good", problem=error.message)

    async def _first_time(self, authorization: str) -> Principal:
        secret = bearer(authorization)
        prefix = prefix_of(secret)
        if prefix is None:
            raise Unauthenticated(
                "This is no API key of Regrow: it looks like 'rg_<8 letters>_<43 more>'. Send 'Authorization: Bearer <key>'."
            )
        digest = self._pepper.digest(secret)
        key = self._by_prefix.get(prefix)
        if key is None or not _has(key, digest):
            async with self._lookups:
                key = await asyncio.to_thread(self._look_up, prefix, digest)
        if key is None:
            raise Unauthenticated(_UNKNOWN)
        if key.revoked is not None or key.id in self._revoked:
            _note_refused(key)
            raise Unauthenticated(_UNKNOWN)
        until = key.good_until(digest)
        if until is not None and until <= now():
            _note_refused(key)
            raise Unauthenticated(f"This API key ended at {until:%Y-%m-%d %H:%M} UTC. Ask an admin for a new one.")
        self.put(key)
        if len(self._principals) >= _KNOWN_SECRETS:
            self._principals.clear()
        self._principals[authorization] = (key.id, key.principal(), math.inf if until is None else until.timestamp())
        self._used[key.id] = int(time.time()) // 60
        return self._principals[authorization][1]

    def _forget(self, key_id: str) -> None:
        key = self._by_id.pop(key_id, None)
        if key is None:
            return
        for prefix in (key.prefix, key.former.prefix if key.former else key.prefix):
            if self._by_prefix.get(prefix) == key:
                del self._by_prefix[prefix]
        for known in [sent for sent, (owner, *_) in self._principals.items() if owner == key_id]:
            del self._principals[known]

    def _read_all(self) -> list[Key]:
        with self._database.reading() as session:
            return list(storage.active(session))

    def _look_up(self, prefix: str, digest: str) -> Key | None:
        with self._database.reading() as session:
            found = [key for key in storage.with_prefix(session, prefix) if _has(key, digest)]
        return found[0] if found else None

    def _touch(self, used: dict[str, datetime]) -> None:
        with self._database.session() as session:
            storage.touch(session, used)


def _has(key: Key, digest: str) -> bool:
    try:
        key.good_until(digest)
    except KeyError:
        return False
    return True


def _note_refused(key: Key) -> None:
    """For log and audit: whose key the call came with, which is good no more."""
    if (call := current_call()) is not None:
        call.refused = key.principal()


def public_prefix(authorization: str) -> str:
    """The part of a key that tells which one it is, and isn't secret; empty for anything else."""
    prefix = prefix_of(authorization.rpartition(" ")[2])
    return f"rg_{prefix}" if prefix else ""


def bearer(authorization: str) -> str:
    """The credential of `Bearer <credential>`. Raises `Unauthenticated`."""
    if not authorization:
        raise Unauthenticated("No API key was sent. Send 'Authorization: Bearer <key>'.")
    scheme, _, secret = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The authorization isn't a bearer token. Send 'Authorization: Bearer <key>'.")
    return secret.strip()
