"""The Open Inference Protocol in the API document: every route, and answers that are as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from services.gateway.methods import Binding, public_methods
from services.gateway.oip.methods import FEEDBACK, UNSUPPORTED, inference_methods
from services.gateway.openapi import document
from services.gateway.openapi.examples import INFERENCE_BODIES
from services.gateway.policy import RULES
from services.gateway.routes import compile_template

DOCUMENT: dict[str, Any] = json.loads(document("1.2.3"))
ROUTES = {
    (verb, path): operation for path, found in DOCUMENT["paths"].items() for verb, operation in found.items()
}  # fmt: skip
INFERENCE = {route: operation for route, operation in ROUTES.items() if route[1].startswith("/v2")}


def _routed(binding: Binding) -> tuple[str, str]:
    template = compile_template(binding.template)
    path = "/" + "/".join(template.segments)
    return binding.verb.lower(), path + (f":{template.verb}" if template.verb else "")


def test_every_binding_is_in_the_document_and_the_other_way_round() -> None:
    methods = (*public_methods().values(), *inference_methods().values())
    answered = [_routed(binding) for method in methods for binding in method.bindings] + [_routed(FEEDBACK)]
    told = [(verb, re.sub(r"\{\w+\}", "*", path)) for verb, path in ROUTES]
    assert sorted(answered) == sorted(told)
    assert len({operation["operationId"] for operation in ROUTES.values()}) == len(ROUTES)


def test_who_may_call_is_said_of_each_and_probes_need_no_key() -> None:
    for operation in INFERENCE.values():
        name = operation["operationId"].partition("_")[0]
        rule = RULES.get(f"/inference.GRPCInferenceService/{name}")
        keyless = rule is not None and rule.keyless
        assert (operation.get("security") == []) is keyless
        assert ("Needs no key" in operation["description"]) is keyless
        assert ("501" in operation["responses"]) is (name in UNSUPPORTED)


def _invalid(schema: dict[str, Any], value: object) -> list[str]:
    """What a schema of the document finds wrong."""
    found = Draft202012Validator({**schema, "components": DOCUMENT["components"]}).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def _wrong(operation: dict[str, Any], answer: httpx.Response) -> list[str]:
    """What an answer has that the document doesn't say, or lacks."""
    responses = operation["responses"]
    told = responses.get(str(answer.status_code), responses["default"])
    if "$ref" in told:
        told = DOCUMENT["components"]["responses"][told["$ref"].rpartition("/")[2]]
    kind = answer.headers["content-type"]
    if kind not in told["content"]:
        return [f"{kind} isn't among {list(told['content'])}"]
    headers = [name for name in ("inference-header-content-length",) if name in answer.headers]
    unknown = [name for name in headers if name not in {one.lower() for one in told["headers"]}]
    return unknown or (_invalid(told["content"][kind]["schema"], answer.json()) if "json" in kind else [])


@pytest.fixture(scope="module")
def model(world) -> str:
    made = world.model("oip-told", project="default")
    world.promote(world.version(made, classes=("no", "yes")))
    world.version(made, classes=("no", "yes"), good=2.0)
    return made


@pytest.fixture
def examples(call, model) -> Iterator[Any]:
    """Calls an operation with the document's own examples, for a model with other columns."""
    deadline = 200
    while call("GET", "/v2/models/oip-told/ready").status_code != 200 and deadline:
        call("GET", "/v2/models/oip-told")
        deadline -= 1
    prediction = call(
        "POST", "/v2/models/oip-told/infer",
        json={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["free lunch"]}]},
    ).json()["parameters"]["prediction_id"]  # fmt: skip

    def ask(verb: str, path: str, **options: Any) -> httpx.Response:
        operation = ROUTES[(verb, path)]
        named = {one["name"]: one["example"] for one in operation["parameters"] if one.get("in") == "path"}
        here = path.format_map({**named, "model": "oip-told"})
        if (body := operation.get("requestBody", {}).get("content", {}).get("application/json")) is not None:
            text = json.dumps(body["example"]).replace("Review Text", "text").replace("Age", "length")
            options.setdefault("content", text.replace("PREDICTION_ID", prediction))
        return call(verb.upper(), here, **options)

    yield ask


@pytest.mark.parametrize(("verb", "path"), sorted(INFERENCE))
def test_the_examples_work_and_are_answered_as_the_document_says(examples, call, verb: str, path: str) -> None:
    operation = INFERENCE[(verb, path)]
    if path.endswith("/unload"):
        assert call("GET", "/v2/models/oip-told/versions/2").status_code == 200  # there is something to unload
    answer = examples(verb, path)
    unsupported = operation["operationId"].partition("_")[0] in UNSUPPORTED
    assert answer.status_code == (501 if unsupported else 200), answer.text
    assert _wrong(operation, answer) == []


@pytest.mark.parametrize("name", sorted(INFERENCE_BODIES))
def test_every_example_fits_its_schema(name: str) -> None:
    operation = next(one for one in INFERENCE.values() if one["operationId"] == name)
    content = operation["requestBody"]["content"]["application/json"]
    assert content["example"] == INFERENCE_BODIES[name]
    assert _invalid(content["schema"], content["example"]) == []


def test_binary_answers_and_errors_are_as_the_document_says(examples, call) -> None:
    infer = INFERENCE[("post", "/v2/models/{model}/infer")]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["free"]}
    binary = examples(
        "post", "/v2/models/{model}/infer", json={"inputs": [tensor], "parameters": {"binary_data_output": True}}, content=None
    )
    assert binary.headers["inference-header-content-length"]
    for answer, status in (
        (binary, 200),
        (call("POST", "/v2/models/oip-told/infer", json={"inputs": []}), 400),
        (call("POST", "/v2/models/nobody/infer", json={"inputs": [tensor]}), 404),
        (call("POST", "/v2/models/oip-told/infer", json={"inputs": [tensor]}, key="rg_none"), 401),
    ):
        assert answer.status_code == status, answer.text
        assert _wrong(infer, answer) == []
    ready = INFERENCE[("get", "/v2/models/{model}/ready")]
    away = call("GET", "/v2/models/nobody/ready")
    assert away.status_code == 503 and _wrong(ready, away) == []
