"""What can be done with keys: the first admin, create, list, revoke, and making a new admin on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from services.common.database import Database, now
from services.common.errors import FailedPrecondition, NotFound
from services.common.paging import encode_token, page
from services.common.rpc.principal import Principal
from services.gateway.keys import storage
from services.gateway.keys.rules import Key, checked_projects, checked_role, digest_of, may_see, new_secret

_FIRST = "first-admin"


def create(database: Database, creator: Principal, *, display_name: str, role: str, projects: Sequence[str]) -> tuple[Key, str]:
    """Makes a key; answers it with its secret, which is kept nowhere. Raises `InvalidField`, `PermissionDenied`."""
    key, secret = _made(display_name=display_name, role=role, projects=checked_projects(projects, creator))
    with database.session() as session:
        storage.add(session, key)
    return key, secret


def create_first(database: Database) -> str | None:
    """The secret of the first admin key where no key was ever made, else None. Of many processes at once, one makes it."""
    key, secret = _made(display_name="first admin", role="admin", projects=())
    try:
        with database.session() as session:
            if not storage.is_empty(session):
                return None
            storage.add(session, replace(key, id=_FIRST))
    except sa.exc.IntegrityError:
        return None
    return secret


def reset(database: Database) -> str:
    """The secret of a new admin key, for who has the machine and lost the last one. The others stay good."""
    key, secret = _made(display_name="admin made on the machine", role="admin", projects=())
    with database.session() as session:
        storage.add(session, key)
    return secret


def revoke(database: Database, caller: Principal, key_id: str) -> Key:
    """Revokes a key; one that is revoked stays as it is. Raises `NotFound`, `FailedPrecondition` for the last admin key."""
    with database.session() as session:
        masters = storage.lock_masters(session)
        key = storage.find(session, key_id)
        if key is None or not may_see(caller, key):
            raise NotFound("key", f"keys/{key_id}")
        if key.revoked is not None:
            return key
        if key.is_master and list(masters) == [key.id]:
            raise FailedPrecondition(
                "This is the last admin key for all projects: without it nobody could make another. Create one first.",
                reason="LAST_ADMIN_KEY",
            )
        moment = now()
        storage.revoke(session, key_id, moment)
        return replace(key, revoked=moment)


def list_keys(database: Database, caller: Principal, *, size: int, token: str, revoked: bool) -> tuple[list[Key], str]:
    """A page of keys, newest first, and the token of the next page."""
    query = f"keys/{revoked}"
    wanted = page(size, token, query=query)
    after = None if wanted.after is None else int(wanted.after["number"] or 0)
    found: list[tuple[int, Key]] = []
    with database.reading() as session:
        while len(found) <= wanted.limit:
            batch = storage.newest(session, after=after, limit=wanted.limit + 1, revoked=revoked)
            found += [(number, key) for number, key in batch if may_see(caller, key)]
            if len(batch) <= wanted.limit:
                break
            after = batch[-1][0]
    more = len(found) > wanted.limit
    found = found[: wanted.limit]
    return [key for _, key in found], encode_token({"number": found[-1][0]}, query=query) if more else ""


def _made(*, display_name: str, role: str, projects: tuple[str, ...]) -> tuple[Key, str]:
    secret, prefix = new_secret()
    key = Key(
        id=prefix, display_name=display_name, role=checked_role(role), projects=projects, prefix=prefix,
        digest=digest_of(secret), created=now(),
    )  # fmt: skip
    return key, secret
