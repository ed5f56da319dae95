"""A bearer token's way to a principal: issuer, key, signature, times, audience, groups. The signature comes before belief.

A token that was verified is kept for a minute, so that a call with it costs no signature; then it is verified anew, which
is when a key that its issuer withdrew stops working.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from services.common.errors import Unauthenticated
from services.common.rpc.principal import Principal
from services.gateway.settings import GatewaySettings
from services.gateway.tokens.jwks import IssuerKeys
from services.gateway.tokens.rules import Trust, principal_of, read_trust

KEPT_SECONDS = 60.0
_MOST_KEPT = 10_000
_LONGEST_TOKEN = 16 << 10
_CURES = {
    "exp": "has expired. Get a new one from your identity provider",
    "nbf": "isn't valid yet. Are the clocks right",
    "iat": "was issued in the future. Are the clocks right",
    "aud": "is for another audience",
    "iss": "is from another issuer",
}

log = structlog.get_logger()


def trust_of(settings: GatewaySettings) -> Trust | None:
    """Whose tokens are taken; None where no issuer is set. Raises `InvalidField`."""
    return read_trust(
        issuers=settings.oidc_issuers, audience=settings.oidc_audience, grants=settings.oidc_grants,
        jwks_url=settings.oidc_jwks_url, algorithms=settings.oidc_algorithms, groups_claim=settings.oidc_groups_claim,
        leeway_seconds=settings.oidc_leeway_seconds,
    )  # fmt: skip


def is_token(credential: str) -> bool:
    """Whether a bearer credential has the form of a JSON Web Token, which no API key has."""
    return credential.count(".") == 2


class Tokens:
    """Belongs to the event loop."""

    def __init__(self, trust: Trust, keys: Mapping[str, IssuerKeys] | None = None) -> None:
        self._trust = trust
        self._keys = keys or {issuer: IssuerKeys(issuer, trust.jwks_url) for issuer in trust.issuers}
        self._registry = JWSRegistry(algorithms=list(trust.algorithms), strict_check_header=False)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=trust.leeway_seconds,
            iss={"essential": True, "values": list(trust.issuers)},
            aud={"essential": True, "values": [trust.audience]},
            sub={"essential": True},
            exp={"essential": True},
        )
        self._known: dict[str, tuple[Principal, float]] = {}

    async def principal(self, token: str) -> Principal:
        """Who calls. Raises `Unauthenticated`, `PermissionDenied`, `EngineUnavailable` where no key of the issuer is known."""
        known = self._known.get(token)
        if known is not None and time.time() < known[1]:
            return known[0]
        claims = await self._verified(token)
        principal = principal_of(claims, self._trust)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        until = min(time.time() + KEPT_SECONDS, float(claims["exp"]) + self._trust.leeway_seconds)
        self._known[token] = principal, until
        return principal

    async def _verified(self, token: str) -> Mapping[str, Any]:
        if len(token) > _LONGEST_TOKEN:
            raise Unauthenticated(f"This token is longer than {_LONGEST_TOKEN:,} characters.")
        header, unproven = _unproven(token)
        algorithm, kid, issuer = header.get("alg"), header.get("kid"), unproven.get("iss")
        if algorithm not in self._trust.algorithms:
            raise Unauthenticated(f"This token's algorithm isn't taken. Sign it with {' or '.join(self._trust.algorithms)}.")
        keys = self._keys.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise Unauthenticated("This token is from an issuer that isn't believed here.")
        key = await keys.find(kid if isinstance(kid, str) else None)
        if key is None:
            raise Unauthenticated("This token is signed with a key that its issuer doesn't publish.")
        try:
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except MissingClaimError as error:
            raise Unauthenticated(f"This token lacks the claim {_claim_of(error)}.") from None
        except (InvalidClaimError, ExpiredTokenError) as error:
            raise Unauthenticated(f"This token {_CURES.get(_claim_of(error), 'has a claim that does not hold')}.") from None
        except (JoseError, ValueError, TypeError, OverflowError):
            raise Unauthenticated("This token's signature isn't good.") from None
        return claims


def _claim_of(error: JoseError) -> str:
    claim = getattr(error, "claim", "") or ""
    return str(claim) if str(claim) in (*_CURES, "sub") else "iss, aud, sub or exp"


def _unproven(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they are written, to choose the key by; nothing else may be made of them."""
    parts = []
    for segment in token.split(".")[:2]:
        try:
            part = json.loads(urlsafe_b64decode(segment.encode()))
        except (ValueError, RecursionError):
            part = None
        if not isinstance(part, dict):
            raise Unauthenticated("This is no JSON Web Token: it can't be read.")
        parts.append(part)
    return parts[0], parts[1]
