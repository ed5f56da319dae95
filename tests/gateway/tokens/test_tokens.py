"""Bearer tokens of a real issuer on loopback: which are believed, which aren't, and what a flood of bad ones costs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from issuer import AUDIENCE, Issuer
from joserfc.jwk import RSAKey

from services.common.errors import EngineUnavailable, InvalidField, PermissionDenied, Unauthenticated
from services.common.rpc.principal import ALL_PROJECTS, Principal
from services.gateway.tokens.jwks import IssuerKeys
from services.gateway.tokens.rules import Trust, read_trust
from services.gateway.tokens.verifying import Tokens

GRANTS = "ml-admins=admin; shop-team=editor:shop; bank-team=editor:bank; all-staff=viewer"
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "rsa-1"})


def trust(issuer: Issuer, **changes: Any) -> Trust:
    fields = {
        "issuers": issuer.url, "audience": AUDIENCE, "grants": GRANTS, "jwks_url": "", "algorithms": "RS256,ES256",
        "groups_claim": "groups", "leeway_seconds": 30,
    }  # fmt: skip
    made = read_trust(**{**fields, **changes})
    assert made is not None
    return made


def tokens(issuer: Issuer, *, retry_seconds: float = 0.0, fresh_seconds: float = 600.0, **changes: Any) -> Tokens:
    keys = IssuerKeys(issuer.url, retry_seconds=retry_seconds, fresh_seconds=fresh_seconds)
    return Tokens(trust(issuer, **changes), {issuer.url: keys})


def caller(issuer: Issuer, token: str, **changes: Any) -> Principal:
    return asyncio.run(tokens(issuer, **changes).principal(token))


def unsigned(token: str, **claims: Any) -> str:
    """The same token with other claims, under the signature of the first."""
    header, payload, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**content, **claims}).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


def by_secret(token: str, secret: bytes) -> str:
    """What a verifier that lets the token choose would take: HS256 with the public key, which everybody has."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa-1"}').decode().rstrip("=")
    signed = f"{header}.{token.split('.')[1]}"
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).decode().rstrip("=")
    return f"{signed}.{signature}"


def algorithm_none(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"rsa-1"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


def test_a_good_token_is_its_subject_with_the_role_of_its_group(issuer: Issuer) -> None:
    found = caller(issuer, issuer.token())
    assert (found.role, found.projects, found.name, found.subject) == ("editor", ("shop",), "ann", "user-17")
    assert found.key_id.startswith("oidc:")


def test_the_same_subject_of_another_issuer_is_somebody_else(issuer: Issuer) -> None:
    other = Issuer()
    try:
        assert caller(issuer, issuer.token()).key_id != caller(other, other.token()).key_id
    finally:
        other.stop()


REFUSED: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "expired": (lambda one: one.token(exp=int(time.time()) - 60), "expired"),
    "not yet valid": (lambda one: one.token(nbf=int(time.time()) + 120), "isn't valid yet"),
    "issued in the future": (lambda one: one.token(iat=int(time.time()) + 120), "issued in the future"),
    "for another audience": (lambda one: one.token(aud="billing"), "another audience"),
    "for nobody": (lambda one: one.token(aud=None), "lacks the claim"),
    "without an end": (lambda one: one.token(exp=None), "lacks the claim"),
    "with an end that is no number": (lambda one: one.token(exp="tomorrow"), "claim that does not hold|expired"),
    "without a subject": (lambda one: one.token(sub=None), "lacks the claim"),
    "of another issuer": (lambda one: one.token(iss="https://evil.example.com"), "isn't believed"),
    "of no issuer": (lambda one: one.token(iss=None), "isn't believed"),
    "signed by somebody else": (lambda one: one.token(key=OTHER_KEY), "signature"),
    "with changed claims": (lambda one: unsigned(one.token(), groups=["ml-admins"]), "signature"),
    "with algorithm none": (lambda one: algorithm_none(one.token()), "algorithm"),
    "signed with the public key as a secret": (
        lambda one: by_secret(one.token(), one.keys[0].as_pem(private=False)), "algorithm",
    ),
    "with a key of its own in the header": (
        lambda one: one.token(key=OTHER_KEY, header={"jwk": OTHER_KEY.as_dict(private=False)}), "signature",
    ),
    "with a key id that isn't published": (lambda one: one.token(header={"kid": "nobody"}), "doesn't publish"),
    "that is no JSON": (lambda _: "a.b.c", "can't be read"),
    "that is JSON but no object": (lambda _: "W10.W10.W10", "can't be read"),
    "that is endless": (lambda one: one.token(padding="x" * 40_000), "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_no_other_token_is_believed(issuer: Issuer, name: str) -> None:
    made, told = REFUSED[name]
    with pytest.raises(Unauthenticated, match=told):
        caller(issuer, made(issuer))


def test_clocks_may_be_a_little_apart(issuer: Issuer) -> None:
    assert caller(issuer, issuer.token(nbf=int(time.time()) + 20)).name == "ann"
    assert caller(issuer, issuer.token(exp=int(time.time()) - 20)).name == "ann"


@pytest.mark.parametrize(
    ("groups", "role", "projects"),
    [
        (["ml-admins", "shop-team"], "admin", (ALL_PROJECTS,)),
        (["shop-team", "bank-team", "all-staff"], "editor", ("shop", "bank")),
        ("all-staff other", "viewer", (ALL_PROJECTS,)),
    ],
)
def test_of_several_groups_the_highest_role_counts_with_its_own_projects(issuer: Issuer, groups, role, projects) -> None:
    found = caller(issuer, issuer.token(groups=groups))
    assert (found.role, found.projects) == (role, projects)


def test_groups_may_lie_deeper_in_the_token(issuer: Issuer) -> None:
    token = issuer.token(groups=None, realm_access={"roles": ["ml-admins"]})
    assert caller(issuer, token, groups_claim="realm_access.roles").role == "admin"


@pytest.mark.parametrize("groups", [[], ["nobody"], None, 17, [["ml-admins"]]])
def test_who_has_no_group_here_is_known_and_refused(issuer: Issuer, groups) -> None:
    with pytest.raises(PermissionDenied):
        caller(issuer, issuer.token(groups=groups))


def test_a_rotated_key_is_found_at_once_and_the_one_before_ends(issuer: Issuer) -> None:
    async def story() -> None:
        known, old_key = tokens(issuer), issuer.keys[0]
        await known.principal(issuer.token())
        issuer.rotate("ec-2")
        assert (await known.principal(issuer.token())).name == "ann"
        with pytest.raises(Unauthenticated, match="doesn't publish"):
            await known.principal(issuer.token(key=old_key, sub="user-18"))

    asyncio.run(story())


def test_a_flood_of_unknown_key_ids_asks_the_issuer_once(issuer: Issuer) -> None:
    async def story() -> None:
        known = tokens(issuer, retry_seconds=60.0)
        await known.principal(issuer.token())
        before = len(issuer.asked)
        made_up = [issuer.token(header={"kid": f"k{number}"}) for number in range(50)]
        answers = await asyncio.gather(*(known.principal(token) for token in made_up), return_exceptions=True)
        assert all(isinstance(one, Unauthenticated) for one in answers)
        assert len(issuer.asked) == before

    asyncio.run(story())


def test_first_callers_together_cause_one_reading(issuer: Issuer) -> None:
    async def story() -> None:
        known, token = tokens(issuer, retry_seconds=60.0), issuer.token()
        found = await asyncio.gather(*(known.principal(token) for _ in range(20)))
        assert {one.name for one in found} == {"ann"}
        assert len(issuer.asked) == 2  # the discovery document and the keys

    asyncio.run(story())


def test_an_issuer_that_is_down_stops_nobody_whose_key_is_known(issuer: Issuer) -> None:
    async def story() -> None:
        known = tokens(issuer, fresh_seconds=0.0)
        await known.principal(issuer.token())
        issuer.down = True
        assert (await known.principal(issuer.token(sub="user-18"))).subject == "user-18"
        await asyncio.sleep(0.2)  # the reading in the background failed
        assert (await known.principal(issuer.token(sub="user-19"))).subject == "user-19"

    asyncio.run(story())


def test_without_any_key_a_token_can_be_neither_believed_nor_refused(issuer: Issuer) -> None:
    issuer.down = True
    with pytest.raises(EngineUnavailable) as failed:
        caller(issuer, issuer.token())
    assert issuer.url not in failed.value.message
    issuer.down = False
    assert caller(issuer, issuer.token()).name == "ann"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/keys", b"[" * 100_000),
        ("/keys", b" " * (1 << 20)),
        ("/keys", b""),
        ("/keys", {"keys": []}),
        ("/keys", {"keys": "none"}),
        ("/keys", {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"}, {"kty": "RSA"}, 17]}),
        ("/.well-known/openid-configuration", {"issuer": "https://evil.example.com", "jwks_uri": "https://evil.example.com"}),
        ("/.well-known/openid-configuration", {"issuer": "", "jwks_uri": "file:///etc/passwd"}),
    ],
)
def test_documents_that_are_wrong_or_too_large_give_no_key(issuer: Issuer, path: str, content: Any) -> None:
    if isinstance(content, dict) and content.get("issuer") == "":
        content = {**content, "issuer": issuer.url}
    issuer.documents[path] = content
    with pytest.raises(EngineUnavailable):
        caller(issuer, issuer.token())


@pytest.mark.parametrize("leads_to", ["http://127.0.0.1:1/keys", "http://169.254.169.254/latest", "file:///etc/passwd", "//x"])
def test_an_issuer_on_https_leads_to_keys_on_https_alone(leads_to: str) -> None:
    asked: list[str] = []

    def fetch(url: str) -> dict[str, Any]:
        asked.append(url)
        return {"issuer": "https://id.example.com", "jwks_uri": leads_to}

    keys = IssuerKeys("https://id.example.com", fetch=fetch)
    with pytest.raises(EngineUnavailable, match="away from https"):
        asyncio.run(keys.find("rsa-1"))
    assert asked == ["https://id.example.com/.well-known/openid-configuration"]


@pytest.mark.slow
def test_a_verified_token_is_kept_for_a_while_but_not_beyond_its_end(issuer: Issuer) -> None:
    async def story() -> None:
        known = tokens(issuer, leeway_seconds=0)
        token = issuer.token(exp=int(time.time()) + 1)
        first = await known.principal(token)
        assert await known.principal(token) is first
        await asyncio.sleep(2.1)
        with pytest.raises(Unauthenticated, match="expired"):
            await known.principal(token)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"issuers": "http://id.example.com"}, "ISSUERS"),
        ({"issuers": "https://user:secret@id.example.com"}, "ISSUERS"),
        ({"issuers": "id.example.com"}, "ISSUERS"),
        ({"issuers": "https://a.example.com,https://b.example.com", "jwks_url": "https://a.example.com/keys"}, "JWKS_URL"),
        ({"jwks_url": "ftp://id.example.com/keys"}, "JWKS_URL"),
        ({"audience": ""}, "AUDIENCE"),
        ({"algorithms": "RS256,HS256"}, "ALGORITHMS"),
        ({"algorithms": "none"}, "ALGORITHMS"),
        ({"algorithms": ""}, "ALGORITHMS"),
        ({"grants": ""}, "GRANTS"),
        ({"grants": "admins"}, "GRANTS"),
        ({"grants": "admins=owner"}, "GRANTS"),
        ({"grants": "admins=admin:"}, "GRANTS"),
        ({"grants": "admins=admin:No Project"}, "GRANTS"),
    ],
)
def test_wrong_settings_are_told_with_their_variable(issuer: Issuer, changes, variable) -> None:
    with pytest.raises(InvalidField) as refused:
        trust(issuer, **changes)
    assert refused.value.problems[0].field == f"REGROW_GATEWAY_OIDC_{variable}"
