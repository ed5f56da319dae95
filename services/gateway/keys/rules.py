"""What a key is: 256 random bits that only their owner has; here lives a keyed hash of them.

A secret reads `rg_<prefix>_<43 characters>`. The prefix finds the key, and tells people which one a log speaks of. SHA-256
is enough for a secret of full entropy: there is nothing to guess, so nothing that a slow hash would make dearer. What is
kept is HMAC-SHA-256 of it under a pepper that isn't in the database: who can write there still can't make a key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from services.common.errors import FailedPrecondition, InvalidField, PermissionDenied
from services.common.names import check_id, parse
from services.common.rpc.principal import ALL_PROJECTS, Principal
from services.gateway.limits.rules import Limits
from services.gateway.policy import RANKS, PublicRole

DEFAULT_GRACE = timedelta(days=1)
"""How long a secret stays good behind its rotation, where nobody says."""
NO_LIMITS = Limits()
"""Those of the settings."""
UNLIMITED = Limits(calls_per_second=0.0, burst=0, rows_per_day=0, feedback_per_day=0)
_LONGEST_LIFE = timedelta(days=3660)
_SECRET = re.compile(r"rg_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need."""
_PREFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class Pepper:
    """The secret of the gateway under which keys are hashed. `id` tells whether two are the same, and nothing else."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.id = self._hash("the id of a pepper")[:16]

    def digest(self, secret: str) -> str:
        """What is kept of a key's secret."""
        return self.over(hashlib.sha256(secret.encode()).hexdigest())

    def over(self, plain: str) -> str:
        """The same, from the bare SHA-256 that was kept before there was a pepper."""
        return self._hash(plain)

    def _hash(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """The secret before the last rotation, good until `until`."""

    prefix: str
    digest: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept. `projects` are ids, `models` full names; empty means all. `revision` counts its changes."""

    id: str
    display_name: str
    role: PublicRole
    projects: tuple[str, ...]
    prefix: str
    digest: str
    created: datetime
    models: tuple[str, ...] = ()
    expires: datetime | None = None
    former: Former | None = None
    limits: Limits = NO_LIMITS
    revision: int = 0
    last_used: datetime | None = None
    revoked: datetime | None = None

    @property
    def etag(self) -> str:
        """Changes with every change, not with use."""
        return f"{self.id}.{self.revision}"

    @property
    def is_master(self) -> bool:
        """Whether the key can do everything, for ever: an admin of all projects that isn't revoked and doesn't expire."""
        return self.role == "admin" and not self.projects and self.revoked is None and self.expires is None

    def principal(self) -> Principal:
        """Who calls with this key."""
        return Principal(
            key_id=self.id, role=self.role, projects=self.projects or (ALL_PROJECTS,), name=self.display_name or self.id,
            models=self.models,
        )  # fmt: skip

    def good_until(self, digest: str) -> datetime | None:
        """When the secret with this digest ends; None for never. Raises `KeyError` where it is none of the key's."""
        if hmac.compare_digest(self.digest, digest):
            return self.expires
        if self.former is None or not hmac.compare_digest(self.former.digest, digest):
            raise KeyError(self.id)
        return min(self.former.until, self.expires or self.former.until)


def new_secret() -> tuple[str, str]:
    """A secret and its prefix."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
    return f"rg_{prefix}_{secrets.token_urlsafe(32)}", prefix


def prefix_of(secret: str) -> str | None:
    """The prefix of a text that has the form of a secret."""
    match = _SECRET.fullmatch(secret)
    return match[1] if match else None


def checked_display_name(name: str) -> str:
    """Raises `InvalidField` for none, and for one that a terminal wouldn't show as it is."""
    if not name.strip():
        raise InvalidField("key.display_name", "is missing: say what the key is for, such as 'shop backend'.")
    unfit = next((one for one in name if one not in _JOINERS and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")), None)
    if unfit is not None:
        raise InvalidField("key.display_name", f"has a control character (U+{ord(unfit):04X}). Leave it out.")
    return name


def checked_role(role: str, models: Sequence[str] = ()) -> PublicRole:
    """Raises `InvalidField`."""
    if role not in RANKS:
        raise InvalidField("key.role", "is missing: choose ROLE_VIEWER, ROLE_LABELER, ROLE_EDITOR or ROLE_ADMIN.")
    if models and role != "viewer":
        raise InvalidField("key.role", "must be ROLE_VIEWER for a key of some models, which predicts and sends feedback alone.")
    return cast(PublicRole, role)


def checked_projects(names: Sequence[str], creator: Principal) -> tuple[str, ...]:
    """The ids of `projects/{project}` names. A key never reaches further than the key that makes it."""
    projects: dict[str, None] = {}
    for index, name in enumerate(names):
        field = f"key.projects[{index}]"
        collection, _, project = name.partition("/")
        if collection != "projects":
            raise InvalidField(field, f"'{name[:80]}' doesn't look like 'projects/{{project}}'.")
        projects[check_id(project, field)] = None
        if not creator.may_enter(project):
            raise PermissionDenied(f"You may not enter project '{project}', so you can't make a key that may.", project=project)
    if not projects and ALL_PROJECTS not in creator.projects:
        raise PermissionDenied("You may enter some projects alone, so you can't make a key for all. Name the projects.")
    return tuple(projects)


def checked_models(names: Sequence[str], projects: Sequence[str]) -> tuple[tuple[str, ...], Sequence[str]]:
    """The models, and the projects that the key is for: theirs. Raises `InvalidField` where other projects are named."""
    if not names:
        return (), projects
    models: dict[str, None] = {}
    homes: dict[str, None] = {}
    for index, name in enumerate(names):
        ids = parse("projects/{project}/models/{model}", name, f"key.models[{index}]")
        models[name] = homes[f"projects/{check_id(ids['project'], f'key.models[{index}]')}"] = None
    if projects and set(projects) != set(homes):
        raise InvalidField("key.projects", f"must be left out or be those of the models: {', '.join(homes)}.")
    return tuple(models), tuple(homes)


def checked_expiry(expires: datetime | None, moment: datetime) -> datetime | None:
    """Raises `InvalidField` for a moment that has been, or lies more than ten years ahead."""
    if expires is not None and not moment < expires <= moment + _LONGEST_LIFE:
        when = "lies in the past" if expires <= moment else "lies more than ten years ahead"
        raise InvalidField("key.expire_time", f"{when}. Name a moment to come, or leave it out for a key that never expires.")
    return expires


def check_alive(key: Key) -> None:
    """Raises `FailedPrecondition`. A key that has expired lives again with another end."""
    if key.revoked is not None:
        raise FailedPrecondition(f"Key '{key.id}' is revoked: make a new one.", reason="KEY_ENDED")


def check_own_limits(caller: Principal, key: Key) -> None:
    """Raises `PermissionDenied`: a limit that its own bearer can lift is none."""
    if caller.key_id == key.id and ALL_PROJECTS not in caller.projects:
        raise PermissionDenied(
            "These are the limits of the key that you call with: an admin of all projects, or another key, changes them."
        )


def check_rotatable(key: Key, moment: datetime, grace: timedelta) -> None:
    """Raises `FailedPrecondition`, also where a rotation would end a secret earlier than it was said to."""
    if key.revoked is not None or (key.expires is not None and key.expires <= moment):
        ended = "is revoked" if key.revoked is not None else "has expired"
        raise FailedPrecondition(f"Key '{key.id}' {ended}: make a new one.", reason="KEY_ENDED")
    if grace and key.former is not None and key.former.until > moment:
        raise FailedPrecondition(
            f"The secret before the last rotation was promised until {key.former.until:%Y-%m-%d %H:%M} UTC, and a key has two"
            " secrets at most. Rotate again after that, or with a grace of 0, which ends all but the new one at once.",
            reason="FORMER_SECRET_GOOD",
        )


def may_see(viewer: Principal, key: Key) -> bool:
    """An admin of some projects sees and changes only keys that stay inside them."""
    return may_see_projects(viewer, key.projects)


def may_see_projects(viewer: Principal, projects: Sequence[str]) -> bool:
    """The same of a key for these projects; none is all."""
    return ALL_PROJECTS in viewer.projects or (bool(projects) and set(projects) <= set(viewer.projects))
