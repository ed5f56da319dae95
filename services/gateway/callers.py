"""Who calls, from what the caller sent: an API key, or a bearer token of an identity provider."""

from __future__ import annotations

from services.common.rpc.principal import Principal
from services.gateway.keys.ring import KeyRing, bearer
from services.gateway.limits.limiter import Limiter
from services.gateway.tokens.verifying import Tokens, is_token


class Callers:
    """Belongs to the event loop. `tokens` is None where no identity provider is set: then only keys are taken."""

    def __init__(self, keys: KeyRing, limiter: Limiter, tokens: Tokens | None = None) -> None:
        self._keys = keys
        self._limiter = limiter
        self._tokens = tokens

    async def principal(self, authorization: str) -> Principal:
        """Who calls, from the value of the header or metadata `authorization`; the call counts for its rate.

        Raises `Unauthenticated`, `QuotaExceeded`; for a token also `PermissionDenied`, and `EngineUnavailable` where its issuer
        can't be asked for its keys.
        """
        if self._tokens is not None and is_token(authorization):
            principal = await self._tokens.principal(bearer(authorization))
        else:
            principal = await self._keys.principal(authorization)
        self._limiter.enter(principal)
        return principal

    def standing(self, principal: Principal) -> tuple[int, int, int] | None:
        """Of a caller with a rate: how many calls may come at once, how many are left, the seconds until all are; else None."""
        account = self._limiter.account(principal)
        return account.standing() if account.rate else None
