"""What can be done with keys: the first admin, create, list, rotate, revoke, and making a new admin on the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services.common.database import Database, now
from services.common.errors import EtagMismatch, FailedPrecondition, NotFound
from services.common.listing import Asked
from services.common.rpc.principal import Principal
from services.gateway.audit import storage as audit
from services.gateway.audit.rules import MACHINE, AuditEvent
from services.gateway.keys import storage
from services.gateway.keys.rules import (
    NO_LIMITS,
    Former,
    Key,
    Pepper,
    check_alive,
    check_own_limits,
    check_rotatable,
    checked_display_name,
    checked_expiry,
    checked_models,
    checked_projects,
    checked_role,
    may_see,
    new_secret,
)
from services.gateway.limits.rules import Limits, checked

_FIRST = "first-admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a new key shall be, as it was asked for."""

    display_name: str = ""
    role: str
    projects: Sequence[str] = ()
    models: Sequence[str] = ()
    expires: datetime | None = None
    limits: Limits = NO_LIMITS


class Keys:
    """The keys in the database, hashed under the pepper. Safe for many threads."""

    def __init__(self, database: Database, pepper: Pepper) -> None:
        self._database = database
        self._pepper = pepper

    def create(self, creator: Principal, wish: Wish) -> tuple[Key, str]:
        """Makes a key; answers it with its secret, which is kept nowhere. Raises `InvalidField`, `PermissionDenied`."""
        moment = now()
        wish = checked_wish(wish, creator, moment)
        projects = tuple(name.removeprefix("projects/") for name in wish.projects)
        key, secret = self._made(wish, projects, moment)
        with self._database.session() as session:
            storage.add(session, key, self._pepper.id)
        return key, secret

    def create_first(self) -> str | None:
        """The secret of the first admin key where no key was ever made, else None. Of many processes at once, one makes it."""
        key, secret = self._made(Wish(display_name="first admin", role="admin"), (), now())
        try:
            with self._database.session() as session:
                if not storage.is_empty(session):
                    return None
                storage.add(session, replace(key, id=_FIRST), self._pepper.id)
                audit.add(session, [_made_here(replace(key, id=_FIRST))])
        except sa.exc.IntegrityError:
            return None
        return secret

    def reset(self) -> str:
        """The secret of a new admin key, for who has the machine and lost the last one. The others stay good."""
        key, secret = self._made(Wish(display_name="admin made on the machine", role="admin"), (), now())
        with self._database.session() as session:
            storage.add(session, key, self._pepper.id)
            audit.add(session, [_made_here(key)])
        return secret

    def adopt(self) -> None:
        """Puts the pepper over keys that were kept without one. Raises `FailedPrecondition` where all are under another."""
        with self._database.session() as session:
            storage.put_under(session, self._pepper.id, self._pepper.over)
            peppers = storage.peppers(session)
        if peppers and self._pepper.id not in peppers:
            raise FailedPrecondition(
                "The API keys were kept under another pepper, so none of them would be known. Set REGROW_GATEWAY_KEY_PEPPER to "
                "the one before, or put 'keys.pepper' back into the data folder; `regrow keys reset` makes a new admin key.",
                reason="OTHER_PEPPER",
            )

    def find(self, caller: Principal, key_id: str) -> Key:
        """Raises `NotFound`, for keys that the caller may not see too."""
        with self._database.reading() as session:
            return _visible(storage.find(session, key_id), caller, key_id)

    def update(self, caller: Principal, key_id: str, changes: Mapping[str, Any], *, etag: str = "") -> Key:
        """Changes `display_name`, `expires` or `limits`; a function is asked with what was.

        Raises `NotFound`, `InvalidField`, `EtagMismatch` where the key was changed since it had this etag,
        `FailedPrecondition` for a key that is revoked, or the last one of its kind, `PermissionDenied` for the limits of the
        key that calls.
        """
        with self._database.session() as session:
            masters = storage.lock_masters(session)
            key = _visible(storage.hold(session, key_id), caller, key_id)
            check_alive(key)
            if "limits" in changes:
                check_own_limits(caller, key)
            if etag and etag != key.etag:
                raise EtagMismatch(f"keys/{key_id}", sent=etag, current=key.etag)
            values = {name: value(getattr(key, name)) if callable(value) else value for name, value in changes.items()}
            changed = replace(key, **values, revision=key.revision + 1)
            if changed.expires != key.expires:
                checked_expiry(changed.expires, now())
            if changed.display_name != key.display_name:
                checked_display_name(changed.display_name)
            checked(changed.limits, "key.limits")
            if key.is_master and not changed.is_master and list(masters) == [key.id]:
                raise _last_master()
            storage.update(session, changed)
        return changed

    def rotate(self, caller: Principal, key_id: str, grace: timedelta) -> tuple[Key, str]:
        """Gives the key a new secret; the one before ends after `grace`.

        Raises `NotFound`, `FailedPrecondition`: also within the grace of the last rotation, unless this one has none.
        """
        moment = now()
        secret, prefix = new_secret()
        with self._database.session() as session:
            key = _visible(storage.hold(session, key_id), caller, key_id)
            check_rotatable(key, moment, grace)
            former = Former(prefix=key.prefix, digest=key.digest, until=moment + grace) if grace else None
            key = replace(key, prefix=prefix, digest=self._pepper.digest(secret), former=former, revision=key.revision + 1)
            storage.rotate(session, key, self._pepper.id)
        return key, secret

    def revoke(self, caller: Principal, key_id: str) -> Key:
        """Revokes a key; one that is revoked stays as it is. Raises `NotFound`, `FailedPrecondition` for the last admin key."""
        with self._database.session() as session:
            masters = storage.lock_masters(session)
            key = _visible(storage.find(session, key_id), caller, key_id)
            if key.revoked is not None:
                return key
            if key.is_master and list(masters) == [key.id]:
                raise _last_master()
            moment = now()
            storage.revoke(session, key_id, moment)
            return replace(key, revoked=moment)

    def list_keys(self, caller: Principal, ask: Asked, *, revoked: bool) -> tuple[list[Key], str]:
        """A page of keys, newest first, and the token of the next page."""
        with self._database.reading() as session:
            return storage.page(session, caller, ask, revoked=revoked)

    def _made(self, wish: Wish, projects: tuple[str, ...], moment: datetime) -> tuple[Key, str]:
        secret, prefix = new_secret()
        key = Key(
            id=prefix, display_name=wish.display_name, role=checked_role(wish.role), projects=projects, prefix=prefix,
            digest=self._pepper.digest(secret), created=moment, models=tuple(wish.models), expires=wish.expires,
            limits=checked(wish.limits, "key.limits"),
        )  # fmt: skip
        return key, secret


def checked_wish(wish: Wish, creator: Principal, moment: datetime) -> Wish:
    """The wish with the projects that it comes to; what it names may still not exist.

    Raises `InvalidField`, `PermissionDenied`.
    """
    models, names = checked_models(wish.models, wish.projects)
    role, name = checked_role(wish.role, models), checked_display_name(wish.display_name)
    expires = checked_expiry(wish.expires, moment)
    projects = [f"projects/{project}" for project in checked_projects(names, creator)]
    return replace(wish, display_name=name, role=role, projects=projects, models=models, expires=expires)


def _last_master() -> FailedPrecondition:
    return FailedPrecondition(
        "This is the last admin key for all projects that doesn't expire: without it nobody could make another. "
        "Create one first.",
        reason="LAST_ADMIN_KEY",
    )


def _visible(key: Key | None, caller: Principal, key_id: str) -> Key:
    if key is None or not may_see(caller, key):
        raise NotFound("key", f"keys/{key_id}")
    return key


def _made_here(key: Key) -> AuditEvent:
    """What the audit log keeps of an admin key that was made on the machine, past the door."""
    return AuditEvent(
        time=key.created, request_id="", method="regrow.gateway.v1.KeyService/CreateKey", resource=f"keys/{key.id}",
        project="", actor=MACHINE,
    )  # fmt: skip
