"""`regrow up --tls`, as a newcomer types it: four real services, every wire encrypted, the command line trusting by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from regrow.credentials import trusting
from regrow.local.supervisor import read_state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_one_option_turns_tls_on_everywhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {**os.environ, "REGROW_CREDENTIALS": str(tmp_path / "credentials.json"), "COLUMNS": "300"}

    def regrow(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "regrow.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    told = regrow("up", "-d", "--tls", "--free-ports", "--data", str(data))
    try:
        state = read_state(data)
        assert f"https://{state['http']}" in told and str(data / "certs" / "ca.pem") in told
        login = json.loads((tmp_path / "credentials.json").read_text())
        assert login["ca_file"] == str(data / "certs" / "ca.pem") and login["grpc_address"] == f"https://{state['grpc']}"
        assert all(one["ready"] for one in json.loads(regrow("status", "--json"))["status"]["services"])
        assert "admin" in regrow("login", "--check")
        _check_wires(state, login)
        lines = json.loads(regrow("doctor", "--json", "--data", str(data)))
        found = {(line["where"], line["check"]): line["verdict"] for line in lines}
        assert found["labeling", "certificate"] == found["gateway", "public certificate"] == "ok"
        assert found["gateway", "service labeling"] == found["training", "service registry"] == "ok"
        assert not [line for line in lines if line["verdict"] == "problem"]
    finally:
        regrow("down", "--data", str(data))


def _check_wires(state: dict[str, str], login: dict[str, str]) -> None:
    request = urllib.request.Request(f"{login['url']}/v1/caller", headers={"authorization": f"Bearer {login['key']}"})
    with urllib.request.urlopen(request, timeout=30, context=trusting(login["ca_file"])) as answer:
        assert json.load(answer)["role"] == "ROLE_ADMIN"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(request, timeout=30)
    for service in ("LABELING", "TRAINING", "REGISTRY"):
        with grpc.insecure_channel(state["addresses"][f"REGROW_{service}_ADDRESS"]) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
