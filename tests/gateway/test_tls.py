"""The gateway over TLS: HTTPS and gRPC at its doors, certificates on both sides towards the services behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from certificates import Authority
from gateway_world import RunningGateway, World
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import regrow
import regrow.credentials
from regrow import aio
from regrow.gateway.v1 import gateway_pb2
from services.common import tracing
from services.common.errors import InvalidInput
from services.common.rpc.health import problem_of
from services.common.tls import CertificateFiles, renewing
from services.gateway import http_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("tls"), authority.settings("service"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(world: World, authority: Authority) -> Iterator[RunningGateway]:
    cert, key = authority.issue("public")
    running = RunningGateway(world.settings(gateway_cert_file=cert, gateway_key_file=key))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key(gateway: RunningGateway) -> str:
    assert gateway.first_key is not None
    return gateway.first_key


def test_a_call_over_https_and_grpc_reaches_a_service_behind(
    gateway: RunningGateway, world: World, authority: Authority, key: str
) -> None:
    with httpx.Client(base_url=gateway.http, verify=regrow.credentials.trusting(str(authority.ca))) as client:
        answer = client.get("/v1/projects/shop/datasets/mail", headers={"authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["name"]) == (200, "projects/shop/datasets/mail")
        assert client.get("/readyz").json()["ready"]
    with regrow.Client(f"https://{gateway.grpc}", key, ca_file=str(authority.ca)) as client:
        assert client.keys.GetCaller(gateway_pb2.GetCallerRequest()).role == gateway_pb2.ROLE_ADMIN
        assert {one.service for one in client.system.GetStatus(gateway_pb2.GetStatusRequest()).services if one.ready} >= {
            "labeling", "training", "registry",
        }  # fmt: skip


def test_a_trace_tells_that_a_call_came_over_https(gateway: RunningGateway, authority: Authority, key: str) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        with httpx.Client(base_url=gateway.http, verify=regrow.credentials.trusting(str(authority.ca))) as client:
            assert client.get("/v1/caller", headers={"authorization": f"Bearer {key}"}).status_code == 200
            assert client.get("/v2/health/live").status_code == 200
    finally:
        tracing.use(None)
    schemes = [span.attributes["url.scheme"] for span in exporter.get_finished_spans() if span.attributes]
    assert schemes == ["https", "https"]


def test_the_client_for_asyncio_takes_the_authority_too(gateway: RunningGateway, authority: Authority, key: str) -> None:
    async def role() -> int:
        async with aio.AsyncClient(gateway.grpc, key, ca_file=str(authority.ca)) as client:
            return int((await client.keys.GetCaller(gateway_pb2.GetCallerRequest())).role)

    assert asyncio.run(role()) == gateway_pb2.ROLE_ADMIN


def test_a_client_that_is_given_the_port_of_https_hears_that_it_wants_the_one_of_grpc(
    gateway: RunningGateway, authority: Authority, key: str
) -> None:
    calling = regrow.Client(gateway.http, key, ca_file=str(authority.ca), retry_for=0, timeout=20)
    with calling as client, pytest.raises(regrow.CallError, match="doesn't speak gRPC"):
        client.keys.GetCaller(gateway_pb2.GetCallerRequest())


def test_plain_callers_and_those_who_do_not_know_the_authority_get_nothing(gateway: RunningGateway, key: str) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(gateway.http.replace("https", "http") + "/healthz", timeout=20)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{gateway.http}/healthz", timeout=20)
    for address in (gateway.grpc, f"https://{gateway.grpc}"):
        with regrow.Client(address, key, retry_for=0, timeout=20) as client:
            with pytest.raises(regrow.CallError) as refused:
                client.keys.GetCaller(gateway_pb2.GetCallerRequest())
            assert refused.value.code == "UNAVAILABLE"
            assert ("ca_file=" in refused.value.message) is address.startswith("https")


@pytest.mark.slow
def test_a_gateway_without_a_certificate_reaches_no_service_and_says_so(world: World, authority: Authority) -> None:
    nothing = {"tls_cert_file": None, "tls_key_file": None, "tls_ca_file": None}
    running = RunningGateway(world.settings(data_dir=world.data_dir / "plain", **nothing))
    try:
        answer = httpx.get(f"{running.http}/readyz", timeout=20)
        assert answer.status_code == 503 and not answer.json()["ready"]
        assert {one["name"] for one in answer.json()["missing"]} >= {"labeling", "training", "registry"}
    finally:
        running.stop()


def test_health_asks_the_doors_by_the_gateways_own_certificate(gateway: RunningGateway, authority: Authority) -> None:
    door = CertificateFiles(
        authority.folder / "public.pem", authority.folder / "public-key.pem", None, password="", prefix="REGROW_GATEWAY"
    )
    assert problem_of(gateway.grpc, certificate=door) == ""
    assert problem_of(gateway.grpc) != ""


def test_files_that_do_not_fit_end_the_start_before_anything_is_opened(
    world: World, authority: Authority, tmp_path: Path
) -> None:
    cert, _ = authority.issue("door")
    _, other = authority.issue("other")
    settings = world.settings(gateway_cert_file=cert, gateway_key_file=other, data_dir=tmp_path / "none", key_pepper="p" * 16)
    with pytest.raises(InvalidInput, match=r"REGROW_GATEWAY_KEY_FILE: .*is not the key"):
        RunningGateway(settings)
    assert not (tmp_path / "none").exists()


def test_a_new_certificate_is_shown_without_a_restart(
    world: World, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(http_server, "_LOOK_EVERY_SECONDS", 0.02)
    cert, key = authority.issue("renewed")
    running = RunningGateway(world.settings(gateway_cert_file=cert, gateway_key_file=key))
    try:
        fresh = Authority(tmp_path / "fresh")
        for new, old in zip(fresh.issue("renewed"), (cert, key), strict=True):
            new.replace(old)
        trusted = regrow.credentials.trusting(str(fresh.ca))
        assert _until_it_answers(f"{running.http}/healthz", trusted) == 200
        with regrow.Client(f"https://{running.grpc}", "none", ca_file=str(fresh.ca), retry_for=0) as client:
            with pytest.raises(regrow.CallError) as refused:
                client.keys.GetCaller(gateway_pb2.GetCallerRequest())
            assert refused.value.code == "UNAUTHENTICATED"  # and not UNAVAILABLE: the certificate was believed
    finally:
        running.stop()


def _until_it_answers(url: str, trusted: object) -> int:
    for _ in range(300):
        try:
            return httpx.get(url, verify=trusted, timeout=20).status_code  # type: ignore[arg-type]
        except httpx.ConnectError as error:
            last = error
    raise last
