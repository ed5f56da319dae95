"""Tokens at the real door: REST and gRPC, beside keys."""

from __future__ import annotations

import grpc
import httpx
import pytest
from gateway_world import RunningGateway
from issuer import AUDIENCE, Issuer

from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc


def test_a_token_opens_rest_and_grpc_within_what_its_groups_give(world, issuer: Issuer) -> None:
    settings = world.settings(
        oidc_issuers=issuer.url, oidc_audience=AUDIENCE, oidc_grants="shop-team=viewer:shop", database_url=None
    )
    running = RunningGateway(settings)
    try:
        headers = {"authorization": f"Bearer {issuer.token()}"}
        with httpx.Client(base_url=running.http, headers=headers, timeout=30) as http:
            caller = http.get("/v1/caller").json()
            assert (caller["displayName"], caller["role"], caller["projects"]) == ("ann", "ROLE_VIEWER", ["projects/shop"])
            assert http.get("/v1/projects/shop/datasets/d").status_code == 200
            assert world.recorder.principals[-1].subject == "user-17"
            for refused in (http.get("/v1/projects/bank/datasets/d"), http.get("/v1/keys")):
                told = refused.json()["error"]["message"]
                assert (refused.status_code, "token of '" in told, "your groups" in told) == (403, True, True)
                assert "key" not in told.replace("/v1/keys", ""), "who calls with a token has no key"
            bad = http.get("/v1/caller", headers={"authorization": f"Bearer {issuer.token(aud='x')}"})
            assert (bad.status_code, "audience" in bad.json()["error"]["message"]) == (401, True)
        with grpc.insecure_channel(running.grpc) as channel:
            stub = gateway_pb2_grpc.KeyServiceStub(channel)
            metadata = (("authorization", f"Bearer {issuer.token()}"),)
            assert stub.GetCaller(gateway_pb2.GetCallerRequest(), metadata=metadata, timeout=30).display_name == "ann"
    finally:
        running.stop()


def test_a_subject_of_a_token_has_the_limits_of_the_settings(world, issuer: Issuer) -> None:
    settings = world.settings(
        oidc_issuers=issuer.url,
        oidc_audience=AUDIENCE,
        oidc_grants="shop-team=viewer:shop",
        calls_per_second=0.01,
        calls_burst=2,
    )
    running = RunningGateway(settings)
    try:
        for subject in ("user-1", "user-2"):
            headers = {"authorization": f"Bearer {issuer.token(sub=subject)}"}
            codes = [httpx.get(f"{running.http}/v1/caller", headers=headers, timeout=30).status_code for _ in range(3)]
            assert codes == [200, 200, 429]
    finally:
        running.stop()


def test_where_no_issuer_is_set_a_token_is_no_key(call, issuer: Issuer) -> None:
    answer = call("GET", "/v1/caller", key=issuer.token())
    assert answer.status_code == 401
    assert "no API key" in answer.json()["error"]["message"]


def test_a_provider_that_cant_be_asked_is_unavailable_with_a_time_to_come_back(world, issuer: Issuer) -> None:
    issuer.down = True
    settings = world.settings(oidc_issuers=issuer.url, oidc_audience=AUDIENCE, oidc_grants="shop-team=viewer")
    running = RunningGateway(settings)
    try:
        answer = httpx.get(f"{running.http}/v1/caller", headers={"authorization": f"Bearer {issuer.token()}"}, timeout=30)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def _first(gateway) -> None:
    """The folder's gateway made the first key already."""
