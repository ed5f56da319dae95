"""Every public call by every kind of caller, over gRPC and REST, at a real gateway: exactly the policy table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, product
from pathlib import Path

import grpc
import httpx
import pytest
from authorisation import METHODS, MODEL, OTHER, OTHER_MODEL, PROJECT, RANKS, Caller, expected, over_grpc, over_rest
from gateway_world import RunningGateway, World
from google.protobuf import descriptor_pb2

import regrow
from services.gateway.policy import RULES

sys.path.insert(0, str(Path(__file__).parent / "tokens"))

from issuer import AUDIENCE, Issuer

LAST = ("DeleteProject",)
"""What takes the others' ground away comes after them."""
PATHS = sorted(RULES, key=lambda path: (path.endswith(LAST), path))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of its own, for admins really delete here."""
    made = World(tmp_path_factory.mktemp("authorisation"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(world: World, issuer: Issuer) -> Iterator[RunningGateway]:
    grants = "; ".join([*(f"{role}s={role}" for role in RANKS), f"shop-team=editor:{PROJECT}", f"bank-team=admin:{OTHER}"])
    running = RunningGateway(world.settings(oidc_issuers=issuer.url, oidc_audience=AUDIENCE, oidc_grants=grants))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def keys(gateway: RunningGateway) -> list[Caller]:
    """Callers with keys: every role in all projects, in the call's and in another one; of the call's model and of another;
    and those whose key is none, is unknown, has ended or was revoked."""
    with httpx.Client(base_url=gateway.http, headers={"authorization": f"Bearer {gateway.first_key}"}, timeout=30) as http:

        def made(label: str, role: str, *projects: str, models: tuple[str, ...] = (), ttl: str = "") -> tuple[Caller, str]:
            key = {
                "role": role, "projects": [f"projects/{one}" for one in projects], "displayName": label,
                "models": [f"projects/{PROJECT}/models/{one}" for one in models], **({"ttl": ttl} if ttl else {}),
            }  # fmt: skip
            answer = http.post("/v1/keys?allow_missing_models=true", json=key)
            assert answer.status_code == 200, answer.text
            caller = Caller(label, answer.json()["secret"], role, projects=projects, models=models)
            return caller, answer.json()["key"]["name"]

        callers = [made(f"{role} of all", role)[0] for role in RANKS]
        callers += [made(f"{role} of {project}", role, project)[0] for role in RANKS for project in (PROJECT, OTHER)]
        callers += [made(f"viewer of {model}", "viewer", PROJECT, models=(model,))[0] for model in (MODEL, OTHER_MODEL)]
        revoked, name = made("revoked", "admin")
        assert http.post(f"/v1/{name}:revoke").status_code == 200
        expired, _ = made("expired", "admin", ttl="0.05s")
        ended_at = time.monotonic() + 30
        while http.get("/v1/caller", headers=expired.header).status_code == 200 and time.monotonic() < ended_at:
            time.sleep(0.02)
    nobody = [Caller("nobody"), Caller("unknown", "rg_aaaaaaaa_" + "x" * 43), Caller("no key at all", "letmein")]
    ended = [Caller(one.label, one.secret) for one in (revoked, expired)]
    return callers + [Caller(one.label, one.secret, known=False) for one in (*nobody, *ended)]


@pytest.fixture(scope="module")
def tokens(issuer: Issuer) -> list[Caller]:
    """Callers with tokens of groups; of no group that has a role; of two; and one whose token has ended."""
    callers = [Caller(f"{role}s", issuer.token(groups=[f"{role}s"]), role) for role in RANKS]
    callers.append(Caller("shop-team", issuer.token(groups=["shop-team"]), "editor", projects=(PROJECT,)))
    callers.append(Caller("bank-team", issuer.token(groups=["bank-team"]), "admin", projects=(OTHER,)))
    callers.append(Caller("of no group", issuer.token(groups=["gardeners"])))
    callers.append(Caller("ended", issuer.token(groups=["admins"], exp=1_000_000_000), known=False))
    return callers


Told = Iterator[tuple[str, str, Caller, str]]
"""The rpc, the route that it was called by (empty: gRPC), by whom, and what was answered."""


def _differences(told: Told) -> list[str]:
    found = []
    for path, route, caller, outcome in told:
        if outcome != (wanted := expected(RULES[path], caller, route)):
            found.append(f"{path} {route}: {caller.label} was told {outcome}, the table says {wanted}")
    return found


def _over_grpc(gateway: RunningGateway, wanted: Iterable[tuple[str, Caller]]) -> Told:
    with grpc.insecure_channel(gateway.grpc) as channel:
        for path, caller in wanted:
            yield path, "", caller, over_grpc(channel, METHODS[path], caller)


def _over_rest(gateway: RunningGateway, wanted: Iterable[tuple[str, Caller]]) -> Told:
    with httpx.Client(base_url=gateway.http, timeout=60) as http:
        for path, caller in wanted:
            for route, outcome in over_rest(http, METHODS[path], caller):
                yield path, route, caller, outcome


def _at_the_edge(keys: list[Caller]) -> Iterator[tuple[str, Caller]]:
    """For each call the lowest role that may make it, the next lower one, an admin of another project,
    a key of another model where one of some models may make it, and two of the rest."""
    known = {caller.label: caller for caller in keys}
    rest = cycle(caller for caller in keys if not caller.label.endswith(" of all"))
    for path in PATHS:
        rank = RANKS.index(RULES[path].role)
        labels = [f"{RANKS[rank]} of all", f"admin of {OTHER}", *([f"{RANKS[rank - 1]} of all"] if rank else [])]
        labels += [f"viewer of {OTHER_MODEL}"] * RULES[path].one_model
        yield from ((path, caller) for caller in (*(known[label] for label in labels), next(rest), next(rest)))


def test_at_the_edge_of_every_rule_keys_open_exactly_what_the_table_says(gateway: RunningGateway, keys: list[Caller]) -> None:
    wanted = list(_at_the_edge(keys))
    assert {caller.label for _, caller in wanted} == {caller.label for caller in keys}
    assert {path for path, _ in wanted} == set(RULES)
    assert _differences(_over_grpc(gateway, wanted[::2])) == []
    assert _differences(_over_rest(gateway, wanted[1::2])) == []


@pytest.mark.slow
def test_every_key_over_grpc_opens_exactly_what_the_table_says(gateway: RunningGateway, keys: list[Caller]) -> None:
    assert _differences(_over_grpc(gateway, product(PATHS, keys))) == []


@pytest.mark.slow
def test_every_key_over_rest_opens_exactly_what_the_table_says(gateway: RunningGateway, keys: list[Caller]) -> None:
    assert _differences(_over_rest(gateway, product(PATHS, keys))) == []


@pytest.mark.slow
def test_tokens_open_exactly_what_the_roles_of_their_groups_do(gateway: RunningGateway, tokens: list[Caller]) -> None:
    assert _differences(_over_grpc(gateway, product(PATHS, tokens))) == []


def test_what_has_no_line_in_the_table_does_not_exist_at_the_gateway(gateway: RunningGateway) -> None:
    """Whatever the services call each other by, over both protocols, with the key that may do everything."""
    whole = descriptor_pb2.FileDescriptorSet.FromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())
    internal = [
        f"/{file.package}.{service.name}/{method.name}"
        for file in whole.file for service in file.service for method in service.method
    ]  # fmt: skip
    internal = [path for path in internal if path not in RULES and path.startswith("/regrow.")]
    assert internal
    admin = {"authorization": f"Bearer {gateway.first_key}"}
    with grpc.insecure_channel(gateway.grpc) as channel, httpx.Client(base_url=gateway.http, headers=admin) as http:
        for path in [*internal, "/regrow.labeling.v1.DatasetService/Nothing", "/regrow.Nothing/At"]:
            for kind in (channel.unary_unary, channel.stream_stream):
                with pytest.raises(grpc.RpcError) as refused:
                    list(kind(path)(iter([b""]) if kind == channel.stream_stream else b"", metadata=tuple(admin.items())))
                assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
            for verb in ("GET", "POST"):
                assert http.request(verb, path).status_code == 404
