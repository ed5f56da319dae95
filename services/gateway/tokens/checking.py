"""A check of single sign-on: that the settings hold together, and that each issuer publishes keys."""

from __future__ import annotations

from collections.abc import Iterator

from services.common.checking.findings import Finding, ok, warning
from services.common.errors import EngineUnavailable
from services.gateway.settings import GatewaySettings
from services.gateway.tokens.jwks import discovery_url, read_keys
from services.gateway.tokens.verifying import trust_of

_CHECK = "sign-on"
_WITH_ISSUERS = ("oidc_audience", "oidc_grants", "oidc_jwks_url")


def sign_on(settings: GatewaySettings) -> Iterator[Finding]:
    """Nothing where no tokens are taken. Raises `InvalidField`, as a start does."""
    trust = trust_of(settings)
    if trust is None:
        yield from _without_issuers(settings)
        return
    for issuer in trust.issuers:
        try:
            keys = read_keys(issuer, trust.jwks_url)
        except EngineUnavailable as error:
            found = f"{issuer}: {error.problem}. Its tokens are refused until they can; API keys stay good."
            yield warning(_CHECK, found, f"Look from this machine at {trust.jwks_url or discovery_url(issuer)}.")
        else:
            yield ok(_CHECK, f"{issuer} publishes {len(keys.keys() - {None})} keys.")


def _without_issuers(settings: GatewaySettings) -> Iterator[Finding]:
    given = [f"REGROW_GATEWAY_{name.upper()}" for name in _WITH_ISSUERS if getattr(settings, name)]
    if given:
        found = f"REGROW_GATEWAY_OIDC_ISSUERS isn't set, so nobody reads {', '.join(given)}."
        yield warning(_CHECK, found, "Set it to take tokens, or unset these.")
