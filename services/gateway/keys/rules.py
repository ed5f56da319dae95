"""What a key is: 256 random bits that only their owner has; here lives their hash.

A secret reads `rg_<prefix>_<43 characters>`. The prefix finds the key, and tells people which one a log speaks of. SHA-256
is enough for a secret of full entropy: there is nothing to guess, so nothing that a slow hash would make dearer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from services.common.errors import InvalidField, PermissionDenied
from services.common.names import check_id
from services.common.rpc.principal import ALL_PROJECTS, Principal
from services.gateway.policy import RANKS, PublicRole

_SECRET = re.compile(r"rg_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
_PREFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept. `projects` are ids; empty means all."""

    id: str
    display_name: str
    role: PublicRole
    projects: tuple[str, ...]
    prefix: str
    digest: str
    created: datetime
    last_used: datetime | None = None
    revoked: datetime | None = None

    @property
    def is_master(self) -> bool:
        """Whether the key can do everything: an admin of all projects that isn't revoked."""
        return self.role == "admin" and not self.projects and self.revoked is None

    def principal(self) -> Principal:
        """Who calls with this key."""
        return Principal(
            key_id=self.id, role=self.role, projects=self.projects or (ALL_PROJECTS,), name=self.display_name or self.id
        )


def new_secret() -> tuple[str, str]:
    """A secret and its prefix."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
    return f"rg_{prefix}_{secrets.token_urlsafe(32)}", prefix


def prefix_of(secret: str) -> str | None:
    """The prefix of a text that has the form of a secret."""
    match = _SECRET.fullmatch(secret)
    return match[1] if match else None


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(key: Key, secret: str) -> bool:
    """Whether the secret is the key's, in constant time."""
    return hmac.compare_digest(key.digest, digest_of(secret))


def checked_role(role: str) -> PublicRole:
    """Raises `InvalidField`."""
    if role not in RANKS:
        raise InvalidField("key.role", "is missing: choose ROLE_VIEWER, ROLE_LABELER, ROLE_EDITOR or ROLE_ADMIN.")
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
            raise PermissionDenied(f"Your key isn't for project '{project}', so it can't make one that is.", project=project)
    if not projects and ALL_PROJECTS not in creator.projects:
        raise PermissionDenied("Your key is for some projects, so it can't make one for all. Name the projects.")
    return tuple(projects)


def may_see(viewer: Principal, key: Key) -> bool:
    """An admin of some projects sees and revokes only keys that stay inside them."""
    return ALL_PROJECTS in viewer.projects or (bool(key.projects) and set(key.projects) <= set(viewer.projects))
