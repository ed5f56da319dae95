"""The API document: valid OpenAPI 3.1, complete, with examples that the gateway reads; and the page that shows it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway.json_reading import read_message
from services.gateway.methods import public_methods
from services.gateway.openapi import document
from services.gateway.openapi.examples import BODIES, FILTERS, NAMES
from services.gateway.operations.rules import eligible

DOCUMENT: dict[str, Any] = json.loads(document("1.2.3"))
OPERATIONS = {
    operation["operationId"]: operation
    for path, operations in DOCUMENT["paths"].items() if path.startswith("/v1/")
    for operation in operations.values()
}  # fmt: skip
METHODS = {method.name: method for method in public_methods().values()}


def test_the_document_is_valid_openapi_3_1() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"\$ref": "#/components/(\w+/[^"]+)"', text))
    there = {
        f"{kind}/{name}" for kind in ("schemas", "responses", "parameters", "headers") for name in DOCUMENT["components"][kind]
    }
    assert used == there


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_call_says_who_may_call_it_how_it_fails_and_what_it_answers(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert "Needs the role" in operation["description"]
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert {"200", "400", "401", "403", "404", "429", "503", "default"} <= set(operation["responses"])
    assert "X-Request-Id" in operation["responses"]["200"]["headers"]
    method = METHODS[name.partition("_")[0]]
    assert ("202" in operation["responses"]) is (method.path in eligible())
    listed = {one.get("$ref", "").rpartition("/")[2] for one in operation["parameters"]}
    assert ("Prefer" in listed) is (method.path in eligible())
    assert ("Fields" in listed) is not method.streams_responses


def test_no_request_has_a_field_that_the_system_parameter_would_hide() -> None:
    assert [m.name for m in METHODS.values() if "fields" in m.request.DESCRIPTOR.fields_by_name] == []


@pytest.mark.parametrize("name", sorted(BODIES))
def test_every_example_is_read_by_the_gateway(name: str) -> None:
    method = METHODS[name]
    request = method.request()
    body = method.bindings[0].body
    read_message(BODIES[name], request if body == "*" else getattr(request, body))
    assert request.ByteSize() > 0
    assert OPERATIONS[name]["requestBody"]["content"]["application/json"]["example"] == BODIES[name]


def test_every_path_parameter_has_a_name_that_fits() -> None:
    names = {p["name"] for one in OPERATIONS.values() for p in one["parameters"] if p.get("in") == "path"}
    assert names - set(NAMES) <= {"problem_spec", "row", "artifact", "batchPrediction", "template"}
    assert set(FILTERS) <= set(OPERATIONS)


def test_bounds_of_the_protos_are_bounds_of_the_schemas() -> None:
    rows = DOCUMENT["components"]["schemas"]
    predict = OPERATIONS["Predict"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]
    assert (predict["minItems"], predict["maxItems"]) == (1, 10000)
    assert rows["labeling.Holdout"]["properties"]["share"]["exclusiveMaximum"] == 1


def test_the_page_and_all_that_it_loads_come_from_this_host(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/page.js"} <= set(loaded)
    assert all(one.startswith("/") and not one.startswith("//") for one in loaded)
    for one in loaded:
        answer = http.get(one)
        assert answer.status_code == 200, one
        assert len(answer.content) > 100
    assert http.get("/").json()["docs"] == "/docs"


@pytest.mark.parametrize(
    "path", ["/docs/../pages.py", "/docs/%2e%2e/__init__.py", "/docs/oauth2-redirect.html", "/docs/nothing"]
)
def test_the_page_hands_out_no_other_file(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_a_wrong_field_is_answered_with_a_link_to_the_call_in_the_page(call: Any) -> None:
    answer = call("POST", "/v1/projects/shop/datasets/d:updateSchema", json={"colums": []})
    (help_,) = [one for one in answer.json()["error"]["details"] if one["@type"].endswith("google.rpc.Help")]
    assert help_["links"][0]["url"] == "/docs#/DatasetService/UpdateSchema"


def test_fields_of_an_answer_are_chosen_over_rest_and_refused_where_there_are_none(call: Any, error: Any) -> None:
    for query, headers in (
        ("?fields=name", {}),
        ("?$fields=name", {}),
        ("?%24fields=name", {}),
        ("", {"x-goog-fieldmask": "name"}),
    ):
        answer = call("GET", f"/v1/projects/shop/datasets/d{query}", headers=headers)
        assert answer.json() == {"name": "projects/shop/datasets/d"}
    listed = call("GET", "/v1/projects/shop/datasets?page_size=5&fields=datasets.name")
    assert listed.json() == {"datasets": [{"name": "projects/shop/datasets/a"}]}
    imported = call("POST", "/v1/projects/shop/datasets:import?dataset_id=d&fields=name", content=b"a,b\n1,2\n")
    assert imported.json() == {"name": "projects/shop/datasets/d"}
    wrong = call("GET", "/v1/projects/shop/datasets/d?fields=nme")
    assert "there is no field 'nme'" in error(wrong)["fields"]["fields"]
    streamed = call("GET", "/v1/projects/shop/runs/r:watch?fields=sequence")
    assert "streams" in error(streamed)["fields"]["fields"]
