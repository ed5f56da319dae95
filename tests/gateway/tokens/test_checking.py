"""The check of single sign-on: settings that a start refuses, issuers that are away, and settings that nobody reads."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from services.common.checking.findings import guarded
from services.gateway.settings import GatewaySettings
from services.gateway.tokens.checking import sign_on


def found(**settings: Any) -> list[tuple[str, str, str]]:
    known = GatewaySettings(internal_token="t", key_pepper="p" * 16, **settings)
    return [(one.check, one.verdict, f"{one.found} {one.todo}") for one in guarded("sign-on", lambda: sign_on(known))]


def test_an_issuer_that_publishes_its_keys_is_well(issuer: Any) -> None:
    ((check, verdict, told),) = found(oidc_issuers=issuer.url, oidc_audience="a", oidc_grants="ml=admin")
    assert (check, verdict) == ("sign-on", "ok") and issuer.url in told


def test_a_grant_that_a_start_would_refuse_is_a_problem_by_its_variable(issuer: Any) -> None:
    ((check, verdict, told),) = found(oidc_issuers=issuer.url, oidc_audience="a", oidc_grants="x=god")
    assert (check, verdict) == ("setting REGROW_GATEWAY_OIDC_GRANTS", "problem") and "'x=god'" in told


def test_an_issuer_that_is_away_is_told_with_where_to_look() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    ((check, verdict, told),) = found(oidc_issuers=url, oidc_audience="a", oidc_grants="ml=admin")
    assert (check, verdict) == ("sign-on", "warning") and f"{url}/.well-known/openid-configuration" in told


@pytest.mark.parametrize("name", ["oidc_grants", "oidc_audience"])
def test_settings_of_sign_on_that_nobody_reads_are_told(name: str) -> None:
    ((_, verdict, told),) = found(**{name: "ml=admin"})
    assert verdict == "warning" and f"REGROW_GATEWAY_{name.upper()}" in told and "OIDC_ISSUERS" in told
    assert found() == []
