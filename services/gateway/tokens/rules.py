"""What a token's claims mean here: which issuers are believed, and which group has which role in which projects.

Grants read `group=role` or `group=role:project,project`, with `;` between them: `ml-admins=admin; shop-team=editor:shop`.
Of several that hold for a caller, those with the highest role count, with the projects of all of them: a role is never
carried into a project that another group gave.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from services.common.errors import InvalidField, PermissionDenied
from services.common.names import check_id
from services.common.rpc.principal import ALL_PROJECTS, Principal
from services.gateway.policy import RANKS, PublicRole

ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
})  # fmt: skip
"""Signatures by a key that only the issuer has. `none` and the HS family never: who knows the public half could sign."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAMES = ("preferred_username", "email", "name", "client_id")
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")
_PREFIX = "REGROW_GATEWAY_OIDC_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A group's role; `projects` are ids, empty for all."""

    group: str
    role: PublicRole
    projects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose tokens are believed, and what they give. `jwks_url` is empty where each issuer's discovery document says it."""

    issuers: tuple[str, ...]
    audience: str
    grants: tuple[Grant, ...]
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    groups_claim: str = "groups"
    leeway_seconds: int = 30


def read_trust(
    *, issuers: str, audience: str, grants: str, jwks_url: str, algorithms: str, groups_claim: str, leeway_seconds: int
) -> Trust | None:
    """The settings, checked; None where no issuer is set. Raises `InvalidField` that names the variable."""
    urls = _words(issuers, ",")
    if not urls:
        return None
    for url in (*urls, *([jwks_url] if jwks_url else [])):
        check_url(url, f"{_PREFIX}{'JWKS_URL' if url == jwks_url else 'ISSUERS'}")
    if jwks_url and len(urls) > 1:
        raise InvalidField(f"{_PREFIX}JWKS_URL", "goes with one issuer; of several, each one's discovery document says it.")
    if not audience:
        raise InvalidField(
            f"{_PREFIX}AUDIENCE", "is missing: without it, a token for any other application would open this one."
        )
    wanted = _words(algorithms, ",")
    if unfit := [one for one in wanted if one not in ALGORITHMS] or ([] if wanted else [""]):
        listed = ", ".join(sorted(ALGORITHMS))
        raise InvalidField(f"{_PREFIX}ALGORITHMS", f"'{unfit[0]}' isn't taken. There are: {listed}.")
    return Trust(
        issuers=tuple(urls), audience=audience, grants=_read_grants(grants), jwks_url=jwks_url, algorithms=tuple(wanted),
        groups_claim=groups_claim, leeway_seconds=leeway_seconds,
    )  # fmt: skip


def check_url(url: str, field: str) -> str:
    """Raises `InvalidField` for what isn't https; http is for this machine alone."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidField(field, f"'{url[:200]}' is no URL.") from None
    if not host or parts.username is not None or parts.fragment:
        raise InvalidField(field, f"'{url[:200]}' is no URL such as https://id.example.com/realms/main.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidField(field, f"'{url[:200]}' must begin with https://; http:// is for this machine alone.")
    return url


def principal_of(claims: Mapping[str, Any], trust: Trust) -> Principal:
    """Who calls with a token whose claims hold. Raises `PermissionDenied` where none of its groups has a grant."""
    subject = str(claims["sub"])
    groups = _groups(claims, trust.groups_claim)
    granted = [grant for grant in trust.grants if grant.group in groups]
    name = _name(claims)
    if not granted:
        raise PermissionDenied(
            f"'{name}' is known, but none of the groups in the token's claim '{trust.groups_claim}' has a role here. "
            "Ask an admin to grant one of them a role."
        )
    role = max((grant.role for grant in granted), key=RANKS.__getitem__)
    best = [grant.projects for grant in granted if grant.role == role]
    projects = (ALL_PROJECTS,) if () in best else tuple(dict.fromkeys(one for each in best for one in each))
    origin = hashlib.sha256(f"{claims['iss']}\n{subject}".encode()).hexdigest()
    return Principal(key_id=f"oidc:{origin[:16]}", role=role, projects=projects, name=name, subject=subject[:255])


def _groups(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The strings of a claim; a dotted path reaches into objects, where no claim has the whole path as its name."""
    value: object = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def _name(claims: Mapping[str, Any]) -> str:
    found = next((claims[key] for key in _NAMES if isinstance(claims.get(key), str) and claims[key]), claims["sub"])
    return _UNFIT.sub(" ", str(found))[:200]


def _read_grants(text: str) -> tuple[Grant, ...]:
    field = f"{_PREFIX}GRANTS"
    grants = tuple(_read_grant(one, field) for one in _words(text, ";"))
    if not grants:
        raise InvalidField(field, "is missing: it says which group has which role, like 'ml-admins=admin; shop=editor:shop'.")
    return grants


def _read_grant(text: str, field: str) -> Grant:
    group, equals, given = text.rpartition("=")
    role, _, projects = given.partition(":")
    if not equals or not group.strip() or role.strip() not in RANKS:
        raise InvalidField(field, f"'{text[:80]}' doesn't look like 'group=role' or 'group=role:project,project'.")
    ids = tuple(check_id(one, field) for one in _words(projects, ","))
    if ":" in given and not ids:
        raise InvalidField(field, f"'{text[:80]}' names no project behind its colon.")
    return Grant(group=group.strip(), role=cast(PublicRole, role.strip()), projects=ids)


def _words(text: str, separator: str) -> Sequence[str]:
    return [word for one in text.split(separator) if (word := one.strip())]
