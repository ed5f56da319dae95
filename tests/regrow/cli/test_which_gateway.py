"""Which gateway a command asks: the environment's, the folder's, the login's; and that it says so where they differ."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from regrow.cli import doctor
from regrow.credentials import Credentials, key_for, store_credentials, store_key_of_folder, stored_credentials
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2
from regrow.local import processes

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(gateway: Any, other: Any, command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line in an empty folder, logged in to `gateway`."""
    store_credentials(Credentials(grpc_address=gateway.address, key="rg_login"))
    monkeypatch.setattr("regrow.cli.options.PATIENCE", 0.5)
    monkeypatch.chdir(tmp_path)
    for one in (gateway, other):
        one.on("ListDatasets", lambda _: datasets_pb2.ListDatasetsResponse())
        one.on("GetStatus", lambda _: gateway_pb2.Status())
        one.on("GetCaller", lambda _: gateway_pb2.Key(name="keys/k", display_name="who", role=gateway_pb2.ROLE_VIEWER))
    return command


def up(folder: Path, address: str, key: str = "") -> Path:
    """What `regrow up` leaves while it runs."""
    folder.mkdir(exist_ok=True)
    (folder / "lock").touch()
    state = {"supervisor": processes.identity(os.getpid()), "http": "127.0.0.1:1", "grpc": address}
    (folder / "up.json").write_text(json.dumps(state))
    if key:
        store_key_of_folder(folder, key)
    return folder


def keys_sent(gateway: Any) -> list[str]:
    return [sent.get("authorization", "") for sent in gateway.metadata]


def test_the_regrow_of_the_folder_that_the_environment_names_beats_the_login(
    run: Run, gateway: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_DATA_DIR", str(up(tmp_path / "x", other.address, "rg_folder")))
    code, _, err = run("datasets", "list")
    assert (code, "login" in err) == (0, False)
    assert (keys_sent(other), keys_sent(gateway)) == (["Bearer rg_folder"], [])


def test_a_client_that_is_given_an_address_takes_the_key_of_that_address_and_no_other(
    run: Run, gateway: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_DATA_DIR", str(up(tmp_path / "x", other.address, "rg_folder")))
    keys = {gateway.address: "rg_login", other.address: "rg_folder", "127.0.0.1:1": ""}
    assert {address: key_for(address) for address in keys} == keys


def test_a_named_address_and_key_beat_the_folder(
    run: Run, gateway: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_DATA_DIR", str(up(tmp_path / "x", other.address, "rg_folder")))
    monkeypatch.setenv("REGROW_GRPC", gateway.address)
    monkeypatch.setenv("REGROW_KEY", "rg_named")
    code, _, err = run("datasets", "list")
    assert (code, "login" in err) == (0, False)
    assert (keys_sent(gateway), keys_sent(other)) == (["Bearer rg_named"], [])


def test_where_a_folder_and_the_login_differ_and_the_login_is_asked_it_is_told(
    run: Run, gateway: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(tmp_path / ".regrow", other.address)
    code, _, err = run("datasets", "list")
    assert (code, len(gateway.requests), other.requests) == (0, 1, [])
    assert f"On .regrow runs {other.address}" in err and gateway.address in err and "regrow keys reset" in err
    monkeypatch.setenv("REGROW_DATA_DIR", str(up(tmp_path / "x", "127.0.0.1:1")))
    (tmp_path / "x" / "up.json").unlink()
    assert f"Nothing runs on {tmp_path / 'x'}" in run("datasets", "list")[2]


def test_a_folder_that_the_login_is_for_is_nothing_to_tell(run: Run, gateway: Any, tmp_path: Path) -> None:
    up(tmp_path / ".regrow", gateway.address, "rg_login")
    assert "login" not in run("datasets", "list")[2]
    assert keys_sent(gateway) == ["Bearer rg_login"]


def test_status_goes_by_the_folder_that_it_is_given(run: Run, gateway: Any, other: Any, tmp_path: Path) -> None:
    run("status", "--data", str(up(tmp_path / "x", other.address, "rg_folder")))
    assert keys_sent(other)[:1] == ["Bearer rg_folder"] and gateway.requests == []


def test_doctor_never_puts_two_systems_into_one_report(
    run: Run, gateway: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_local", lambda _: [])
    folder = up(tmp_path / "x", other.address)
    code, out, _ = run("doctor", "--json", "--data", str(folder))
    (found,) = json.loads(out)
    assert (code, found["verdict"], gateway.requests, other.requests) == (0, "warning", [], [])
    assert other.address in found["found"] and gateway.address in found["found"] and "--remote" in found["todo"]
    store_key_of_folder(folder, "rg_folder")
    asked = json.loads(run("doctor", "--json", "--data", str(folder))[1])
    assert {one["check"]: one["found"] for one in asked}["address"] == f"It answers at {other.address}."
    assert keys_sent(other) == ["Bearer rg_folder"] and gateway.requests == []
    assert gateway.address in run("doctor", "--remote", "--data", str(folder))[1]


class _Rest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_login_check_tries_what_is_named_and_stores_nothing(run: Run, gateway: Any, other: Any) -> None:
    before = stored_credentials()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Rest) as rest:
        Thread(target=rest.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{rest.server_port}"
        code, out, _ = run("login", "--url", url, "--grpc", other.address, "--key", "rg_named", "--check")
        rest.shutdown()
    assert (code, keys_sent(other), keys_sent(gateway)) == (0, ["Bearer rg_named"], [])
    assert url in out and other.address in out and stored_credentials() == before


def test_the_authority_of_the_login_is_not_that_of_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    store_credentials(Credentials(grpc_address="https://127.0.0.1:1", key="rg_login", ca_file="/certs/ca.pem"))
    assert stored_credentials().ca_file == "/certs/ca.pem"
    monkeypatch.setenv("REGROW_GRPC", "127.0.0.1:8081")
    assert stored_credentials().ca_file == ""
    monkeypatch.setenv("REGROW_CA_FILE", "/other/ca.pem")
    assert stored_credentials().ca_file == "/other/ca.pem"
