"""`If-Match` and `ETag` over REST: nobody's change is lost to a header that nothing read."""

from __future__ import annotations

import pytest

from services.gateway.conditions import etag_owner
from services.gateway.methods import public_methods


@pytest.fixture
def key(call) -> str:
    name: str = call(
        "POST", "/v1/keys", json={"role": "viewer", "displayName": "conditional", "projects": ["projects/shop"]}
    ).json()["key"]["name"]
    return f"/v1/{name}"


def test_a_change_with_the_etag_that_was_read_is_made_and_one_with_an_old_one_is_not(call, key, error) -> None:
    read = call("GET", key)
    tag = read.headers["etag"]
    assert tag == f'"{read.json()["etag"]}"'
    changed = call("PATCH", f"{key}?update_mask=display_name", json={"displayName": "first"}, headers={"if-match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag
    late = call("PATCH", f"{key}?update_mask=display_name", json={"displayName": "second"}, headers={"if-match": tag})
    assert (late.status_code, error(late)["status"], error(late)["reason"]) == (409, "ABORTED", "ETAG_MISMATCH")
    in_the_body = call("PATCH", f"{key}?update_mask=display_name", json={"displayName": "second", "etag": read.json()["etag"]})
    assert error(in_the_body)["reason"] == error(late)["reason"]
    assert call("GET", key).json()["displayName"] == "first"


def test_an_etag_that_is_asked_for_is_told_even_where_the_answer_is_partial(call, key) -> None:
    answer = call("GET", f"{key}?fields=name")
    assert list(answer.json()) == ["name"] and answer.headers["etag"]


def test_a_star_is_whatever_is_there(call, key) -> None:
    assert (
        call("PATCH", f"{key}?update_mask=display_name", json={"displayName": "any"}, headers={"if-match": "*"}).status_code
        == 200
    )
    assert call("POST", f"{key}:rotate", json={}, headers={"if-match": "*"}).status_code == 200


@pytest.mark.parametrize("sent", ["bad", 'W/"a"', '"a", "b"', '""', '"a', ""])
def test_what_is_no_single_etag_in_quotes_is_refused_with_what_would_be_right(call, key, error, sent) -> None:
    answer = call("PATCH", f"{key}?update_mask=display_name", json={"displayName": "x"}, headers={"if-match": sent})
    assert answer.status_code == 400
    assert 'like "0123abcd"' in error(answer)["fields"]["If-Match"]


def test_a_header_and_a_body_that_contradict_each_other_are_refused(call, key, error) -> None:
    answer = call(
        "PATCH", f"{key}?update_mask=display_name", json={"displayName": "x", "etag": "one"}, headers={"if-match": '"two"'}
    )
    assert (answer.status_code, list(error(answer)["fields"])) == (400, ["key.etag"])


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/projects/shop/datasets/d"),
        ("POST", "/v1/projects/shop/datasets:import?dataset_id=d"),
        ("POST", "/v1/projects/shop/policies?policy_id=p"),
        ("POST", "/v1/projects/shop/models/m/feedback:stream"),
        ("POST", "/v2/models/m/infer"),
        ("POST", "/v2/repository/models/m/unload"),
    ],
)
def test_a_call_that_compares_no_etag_says_so_instead_of_going_on(call, world, verb, path) -> None:
    before = len(world.recorder.requests)
    answer = call(verb, path, content=b"{}", headers={"if-match": '"x"', "content-type": "application/json"})
    assert answer.status_code == 400 and "isn't read by this call" in answer.text
    assert len(world.recorder.requests) == before


def test_the_etag_of_an_alias_is_compared_and_a_star_cant_mean_one_that_is_to_be_made(call, world, error) -> None:
    model = world.champion("matched")
    path = f"/v1/{model}/aliases/champion"
    tag, version = call("GET", path).headers["etag"], world.version(model)
    assert call("POST", f"{path}:set", json={"version": version}, headers={"if-match": '"old"'}).status_code == 409
    star = call("POST", f"{path}:set", json={"version": version}, headers={"if-match": "*"})
    assert star.status_code == 400
    assert call("POST", f"{path}:set", json={"version": version}, headers={"if-match": tag}).headers["etag"] != tag


def test_the_header_reaches_the_service_that_compares_it(call, world) -> None:
    assert call("DELETE", "/v1/projects/shop/datasets/d", headers={"if-match": '"seen"'}).status_code == 200
    assert world.recorder.last.etag == "seen"
    assert call("PATCH", "/v1/projects/shop/policies/p", json={"feedbackCount": 20}, headers={"if-match": '"seen"'}).is_success
    assert (world.recorder.last.policy.etag, world.recorder.last.policy.feedback_count) == ("seen", 20)


def test_it_goes_with_a_call_in_the_background(call, world) -> None:
    answer = call("DELETE", "/v1/projects/shop/datasets/d", headers={"if-match": '"later"', "prefer": "respond-async, wait=10"})
    assert answer.is_success, answer.text
    assert world.recorder.last.etag == "later"


def test_the_document_tells_of_both_headers_where_they_are(http) -> None:
    document = http.get("/openapi.json").json()
    told, compares = set(), set()
    for path in document["paths"].values():
        for operation in path.values():
            if {"$ref": "#/components/parameters/IfMatch"} in operation.get("parameters", []):
                told.add(operation["operationId"])
                assert "409" in operation["responses"]
    for method in public_methods().values():
        compares |= {method.name for binding in method.bindings if etag_owner(method, binding) is not None}
    assert told == compares == {"UpdateSchema", "UpdatePolicy", "SetAlias", "UpdateKey", "DeleteDataset"}
    assert "ETag" in document["paths"]["/v1/keys/{key}"]["get"]["responses"]["200"]["headers"]
