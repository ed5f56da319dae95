"""README's calls, run as they stand there against a real gateway; and what reflection tells of every public service."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import grpcurl
import pytest
from gateway_world import RunningGateway, World
from grpc_reflection.v1alpha import reflection_pb2 as pb

from regrow import Credentials
from regrow.credentials import store_credentials
from services.common.rpc.reflecting import ALPHA, V1
from services.gateway.methods import public_methods, public_services
from services.gateway.oip.methods import SERVICE, inference_methods

README = (Path(__file__).parents[2] / "README.md").read_text()
CHAPTER = README.partition("## The API in a few calls")[2].partition("\n## ")[0]


def commands(program: str) -> list[str]:
    """The chapter's command lines of one program, with their continuation lines."""
    blocks = re.findall(r"^```\n(.*?)^```", CHAPTER, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture(scope="module")
def buy(world: World) -> str:
    """The model that README speaks of."""
    model = world.model("buy", project="default")
    world.promote(world.version(model, classes=("no", "yes"), name="buy"))
    return model


def placed(line: str, gateway: RunningGateway, prediction: str = "") -> str:
    """With this gateway's addresses."""
    here = line.replace("localhost:8080", gateway.http.removeprefix("http://")).replace("localhost:8081", gateway.grpc)
    return fitting(here.replace("PREDICTION_ID", prediction))


def fitting(said: str) -> str:
    """The tests' model reads other columns, and a prediction must have one of the model's."""
    return said.replace('"Review Text"', '"text"')


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="curl and bash run README's lines")
def test_every_curl_of_the_readme_does_what_it_says(gateway: RunningGateway, admin: str, buy: str) -> None:
    lines, answers = commands("curl"), []
    assert len(lines) >= 4
    prediction = ""
    for line in lines:
        shell = ["bash", "-c", f"{placed(line, gateway, prediction)} --fail-with-body --max-time 30"]
        ran = subprocess.run(shell, capture_output=True, text=True, env={**os.environ, "REGROW_KEY": admin}, check=False)
        assert ran.returncode == 0, (line, ran.stdout, ran.stderr)
        answers.append(json.loads(ran.stdout))
        prediction = answers[0]["predictions"][0]["predictionId"]
    assert answers[0]["version"] == f"{buy}/versions/1"
    assert answers[1]["eventId"]
    assert answers[3]["name"].startswith("projects/default/operations/")
    assert answers[4]["parameters"]["version"] == f"{buy}/versions/1"


def test_every_grpcurl_of_the_readme_does_what_it_says(gateway: RunningGateway, admin: str, buy: str) -> None:
    lines = commands("grpcurl")
    assert len(lines) >= 5
    printed = [grpcurl.run(shlex.split(placed(line, gateway).replace("$REGROW_KEY", admin))[1:]) for line in lines]
    assert set(public_services()) <= set(printed[0].splitlines())
    assert "  rows" in printed[1].splitlines()
    assert json.loads(printed[2])["version"] == f"{buy}/versions/1"
    assert set(json.loads(printed[3])) <= {"operations"}
    assert [one["name"] for one in json.loads(printed[4])["inputs"]] == ["text", "length"]


def test_the_python_of_the_readme_runs(
    gateway: RunningGateway, admin: str, buy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_CREDENTIALS", str(tmp_path / "credentials.json"))
    for name in ("REGROW_GRPC", "REGROW_URL", "REGROW_KEY"):
        monkeypatch.delenv(name, raising=False)
    store_credentials(Credentials(url=gateway.http, grpc_address=gateway.grpc, key=admin))
    (program,) = re.findall(r"^```python\n(.*?)^```", CHAPTER, re.MULTILINE | re.DOTALL)
    seen: dict[str, Any] = {}
    exec(compile(fitting(program), "README.md", "exec"), seen)
    assert seen["answer"].predictions


@pytest.mark.parametrize("reflection", [V1, ALPHA])
def test_reflection_lists_every_public_service_with_all_of_its_calls_and_messages(
    gateway: RunningGateway, reflection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpcurl, "REFLECTION", f"/{reflection}/ServerReflectionInfo")
    with grpc.insecure_channel(gateway.grpc) as channel:
        server = grpcurl.Server(channel)
        assert {V1, ALPHA, "grpc.health.v1.Health", SERVICE, *public_services()} == set(server.services())
        for method in (*public_methods().values(), *inference_methods().values()):
            found = server.describe(method.service).methods_by_name[method.name]
            assert found.input_type.full_name == method.request.DESCRIPTOR.full_name
            fields = {field.name for field in method.response.DESCRIPTOR.fields}
            assert {field.name for field in found.output_type.fields} == fields
        assert (
            server.describe(V1).methods_by_name["ServerReflectionInfo"].input_type.full_name.startswith("grpc.reflection.v1.")
        )


def test_reflection_knows_the_extensions_of_messages_in_either_pool(gateway: RunningGateway) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        ask = grpcurl.Server(channel)._ask
        options = pb.ServerReflectionRequest(all_extension_numbers_of_type="google.protobuf.FieldOptions")
        field_behavior = 1052
        assert field_behavior in ask(options).all_extension_numbers_response.extension_number
        none = pb.ServerReflectionRequest(all_extension_numbers_of_type="inference.ModelInferRequest")
        assert ask(none).all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"


def test_reflection_says_of_what_it_does_not_know_that_it_does_not(gateway: RunningGateway) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel, pytest.raises(LookupError):
        grpcurl.Server(channel).describe("regrow.labeling.v1.NoSuchService")
