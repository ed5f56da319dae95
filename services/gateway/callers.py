"""Who calls, from what the caller sent: an API key, or a bearer token of an identity provider."""

from __future__ import annotations

from services.common.rpc.principal import Principal
from services.gateway.keys.ring import KeyRing, bearer
from services.gateway.tokens.verifying import Tokens, is_token


class Callers:
    """Belongs to the event loop. `tokens` is None where no identity provider is set: then only keys are taken."""

    def __init__(self, keys: KeyRing, tokens: Tokens | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def principal(self, authorization: str) -> Principal:
        """Who calls, from the value of the header or metadata `authorization`. Raises `Unauthenticated`."""
        if self._tokens is not None and is_token(authorization):
            return await self._tokens.principal(bearer(authorization))
        return await self._keys.principal(authorization)
