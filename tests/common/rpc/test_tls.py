"""Calls between services over TLS, where both sides show a certificate."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from echo_service import TOKEN, Echo, Stub
from google.protobuf.wrappers_pb2 import StringValue

from services.common.errors import EngineUnavailable
from services.common.rpc.client import aio_internal_channel, internal_channel
from services.common.rpc.health import main, problem_of
from services.common.rpc.server import RunningServer
from services.common.tls import CertificateFiles, renewing

Serve = Callable[..., RunningServer]
_NO_RETRIES: dict[str, Any] = {}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def _ask(port: int, certificate: CertificateFiles | None) -> str:
    with internal_channel(
        f"127.0.0.1:{port}", token=TOKEN, service="echo", certificate=certificate, service_config=_NO_RETRIES
    ) as channel:
        answer: str = Stub(channel).Unary(StringValue(value="hello")).value
        return answer


def test_only_a_caller_with_a_certificate_of_the_authority_gets_in(start: Serve, authority: Authority, tmp_path: Path) -> None:
    server = start(certificate=authority.files("server"))
    assert _ask(server.port, authority.files("caller")) == "HELLO"
    foreign = Authority(tmp_path / "foreign")
    liar = CertificateFiles(*foreign.issue("liar"), authority.ca, password="", prefix="REGROW_TLS")
    for caller in (None, foreign.files("stranger"), liar):
        with pytest.raises(EngineUnavailable, match="echo"):
            _ask(server.port, caller)


def test_a_caller_who_trusts_the_server_but_shows_nothing_does_not_get_in(start: Serve, authority: Authority) -> None:
    server = start(certificate=authority.files("server"))
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel, pytest.raises(grpc.RpcError) as refused:
        Stub(channel).Unary(StringValue(value="hello"), timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_of_another_authority_or_for_another_host_is_not_called(
    start: Serve, authority: Authority, tmp_path: Path
) -> None:
    elsewhere = Authority(tmp_path / "elsewhere")
    ours = authority.files("caller")
    both = tmp_path / "both.pem"
    both.write_bytes(authority.ca.read_bytes() + elsewhere.ca.read_bytes())
    foreign = CertificateFiles(*elsewhere.issue("server"), both, password="", prefix="REGROW_TLS")
    for shown in (foreign, authority.files("other-host", "labeling.example")):
        server = start(certificate=shown)
        with pytest.raises(EngineUnavailable, match="no certificate that is trusted here"):
            _ask(server.port, ours)


def test_asyncio_calls_show_their_certificate_too(start: Serve, authority: Authority) -> None:
    server = start(certificate=authority.files("server"))

    async def ask(certificate: CertificateFiles | None) -> str:
        channel = aio_internal_channel(f"127.0.0.1:{server.port}", TOKEN, certificate=certificate, service_config=_NO_RETRIES)
        try:
            answer: str = (await Stub(channel).Unary(StringValue(value="hello"))).value
            return answer
        finally:
            await channel.close()

    assert asyncio.run(ask(authority.files("caller"))) == "HELLO"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        asyncio.run(ask(None))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_both_sides_take_up_new_certificates_while_they_run(
    start: Serve, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three files of both sides are replaced by those of another authority: nobody from before gets in any more."""
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    before = authority.files("caller-of-old")
    shared = authority.files("shared")
    server = start(certificate=shared)
    address = f"127.0.0.1:{server.port}"
    with internal_channel(address, token=TOKEN, certificate=shared, service_config=_NO_RETRIES) as channel:
        stub = Stub(channel)
        assert stub.Unary(StringValue(value="old")).value == "OLD"
        fresh = Authority(tmp_path / "fresh")
        cert, key = fresh.issue("shared")
        for new, old in ((key, shared.key), (cert, shared.cert), (fresh.ca, authority.ca)):
            new.replace(old)
        assert stub.Unary(StringValue(value="new")).value == "NEW"
    with pytest.raises(EngineUnavailable):
        _ask(server.port, before)
    assert _ask(server.port, shared) == "HELLO"


def test_a_call_under_way_ends_well_though_its_certificate_was_replaced(
    start: Serve, authority: Authority, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    ours = authority.files("caller")
    address = f"127.0.0.1:{start(certificate=authority.files('server')).port}"
    with internal_channel(address, token=TOKEN, certificate=ours) as channel, ThreadPoolExecutor(1) as pool:
        stub = Stub(channel)
        under_way = pool.submit(stub.Unary, StringValue(value="wait"))
        assert echo.entered.wait(30)
        authority.issue("caller")
        assert stub.Unary(StringValue(value="new")).value == "NEW"
        gc.collect()
        echo.leave.set()
        assert under_way.result(30).value == "WAIT"


def test_the_same_for_asyncio(start: Serve, authority: Authority, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    ours = authority.files("caller")
    address = f"127.0.0.1:{start(certificate=authority.files('server')).port}"

    async def story() -> list[str]:
        channel = aio_internal_channel(address, TOKEN, certificate=ours)
        stub = Stub(channel)
        under_way = asyncio.ensure_future(_answer(stub, "wait"))
        assert await asyncio.to_thread(echo.entered.wait, 30)
        authority.issue("caller")
        second = await _answer(stub, "new")
        gc.collect()
        echo.leave.set()
        answers = [second, await under_way]
        await channel.close()
        return answers

    assert asyncio.run(story()) == ["NEW", "WAIT"]


async def _answer(stub: Stub, text: str) -> str:
    answer: str = (await stub.Unary(StringValue(value=text))).value
    return answer


def test_the_health_check_shows_the_services_own_certificate(
    start: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = authority.files("labeling", "labeling")  # for its name alone, and asked by 127.0.0.1
    server = start(certificate=files)
    address = f"127.0.0.1:{server.port}"
    assert problem_of(address, certificate=files, itself=True) == ""
    assert problem_of(address, certificate=files) != ""
    assert "without TLS" in problem_of(address, certificate=authority.files("x", trusted=False))
    assert main([address]) == 1 and address in capsys.readouterr().err
    for name, path in {"CERT": files.cert, "KEY": files.key, "CA": authority.ca}.items():
        monkeypatch.setenv(f"REGROW_TLS_{name}_FILE", str(path))
    assert main([address]) == 0, capsys.readouterr().err
    monkeypatch.setenv("REGROW_TLS_KEY_FILE", str(files.cert))
    assert main([address]) == 1 and "REGROW_TLS_KEY_FILE" in capsys.readouterr().err
