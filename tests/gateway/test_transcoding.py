"""REST by descriptor, against real services behind a real gateway."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest


def test_a_get_takes_its_name_from_the_path_and_answers_json(call, world) -> None:
    answer = call("GET", "/v1/projects/shop/datasets/mail")
    assert answer.status_code == 200
    assert answer.json()["name"] == "projects/shop/datasets/mail"
    assert world.recorder.last.name == "projects/shop/datasets/mail"


def test_percent_signs_in_a_path_are_decoded_but_never_make_a_new_segment(call, world, error) -> None:
    assert call("GET", "/v1/projects/shop/datasets/ma%69l").json()["name"] == "projects/shop/datasets/mail"
    assert call("GET", "/v1/projects/shop%2Fdatasets%2Fx").status_code == 400
    assert call("GET", "/v1/projects/shop/datasets/%FF").status_code == 400


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("page_size=7", "page_size", 7),
        ("pageSize=7", "page_size", 7),
        ("page_token=a%26b", "page_token", "a&b"),
        ("row=12", "row", 12),
        ("row=-3", "row", None),
        ("labeler=projects/shop/labelers/x", "labeler", "projects/shop/labelers/x"),
    ],
)
def test_query_parameters_become_fields(call, world, query: str, field: str, value: Any) -> None:
    answer = call("GET", f"/v1/projects/shop/datasets/mail/votes?{query}")
    assert answer.status_code == 200, answer.text
    if value is not None:
        assert getattr(world.recorder.last, field) == value


@pytest.mark.parametrize(
    ("verb", "path", "body", "field", "said"),
    [
        (
            "GET",
            "/v1/projects/shop/datasets?page_sise=3",
            None,
            "page_sise",
            "unknown query parameter. There are: page_size",
        ),
        ("GET", "/v1/projects/shop/datasets?page_size=x", None, "page_size", "whole number"),
        ("GET", "/v1/projects/shop/datasets?page_size=3&page_size=4", None, "page_size", "twice"),
        ("GET", "/v1/projects/shop/datasets?parent=projects/bank", None, "parent", "the path or the body gives it"),
        ("GET", "/v1/projects/shop/datasets?page_size=99999999999", None, "page_size", "range"),
        ("GET", "/v1/projects/shop/datasets?page_size=-1", None, "page_size", "greater than or equal to 0"),
        ("DELETE", "/v1/projects/shop/datasets/d?force=maybe", None, "force", "true or false"),
        ("POST", "/v1/projects/shop/runs?bogus=1", {}, "bogus", "unknown query parameter"),
        ("POST", "/v1/projects/shop/runs?run=1", {}, "run", "the path or the body gives it"),
        ("POST", "/v1/projects/shop/runs", {"run": {}}, "run", "is what the body itself is"),
        ("POST", "/v1/projects/shop/runs", {"requestId": "r"}, "requestId", "as query parameter, ?request_id="),
        ("POST", "/v1/projects/shop/runs", {"parent": "projects/shop"}, "parent", "leave it out of the body"),
        (
            "POST",
            "/v1/projects/shop/runs",
            {"schedule": {"design": {"text": "FOO"}}},
            "run.schedule.design.text",
            "TEXT_ENCODER_BREW",
        ),
        ("POST", "/v1/projects/shop/runs", {"schedule": {"maxEpochs": "many"}}, "run.schedule.max_epochs", "whole number"),
        ("POST", "/v1/projects/shop/runs", {"schedule": {"max_epochs": 10**12}}, "run.schedule.max_epochs", "range"),
        (
            "POST",
            "/v1/projects/shop/runs",
            {"schedule": {"bogus": 1}},
            "run.schedule.bogus",
            "no field here. There are: design",
        ),
        ("POST", "/v1/projects/shop/runs", {"schedule": [1]}, "run.schedule", "JSON object"),
        ("POST", "/v1/projects/shop/runs", {"createTime": "yesterday"}, "run.create_time", "2026-03-27T14:53:00Z"),
        ("POST", "/v1/projects/shop/runs", {"schedule": {"max_epochs": -1}}, "run.schedule.max_epochs", "0"),
        ("POST", "/v1/projects/shop/datasets/d/votes:write", {"votes": [{}, {"row": "a"}]}, "votes[1].row", "whole number"),
        ("POST", "/v1/projects/shop/datasets/d/votes:write", {"votes": {}}, "votes", "list"),
        ("POST", "/v1/projects/shop/datasets/d/votes:write", {"votes": [{"row": -1}]}, "votes[0].row", "0"),
        (
            "POST",
            "/v1/projects/shop/datasets/d/votes:write",
            {"votes": [], "parent": "projects/shop/datasets/e"},
            "parent",
            "differs",
        ),
        ("POST", "/v1/projects/shop/datasets/d:updateSchema", {"columns": []}, "columns", "at least 1"),
    ],
)
def test_a_mistake_is_told_by_its_field(call, error, verb: str, path: str, body: Any, field: str, said: str) -> None:
    answer = call(verb, path, json=body) if body is not None else call(verb, path)
    assert answer.status_code == 400, answer.text
    found = error(answer)
    assert found["status"] == "INVALID_ARGUMENT"
    assert field in found["fields"], found
    assert said in found["fields"][field]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"a":1', b"NaN", b'"text"', b"nul"])
def test_a_body_that_is_no_json_object_is_a_clear_error(call, error, body: bytes) -> None:
    answer = call("POST", "/v1/projects/shop/datasets/d/votes:write", content=body)
    assert answer.status_code == 400
    assert "body" in error(answer)["fields"]


def test_json_nested_very_deep_is_refused_and_not_a_crash(call, error) -> None:
    deep = b'{"rows":[' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"]}"
    answer = call("POST", "/v1/projects/shop/datasets/d:appendRows", content=deep)
    assert answer.status_code == 400
    assert "deeper" in error(answer)["message"]


def test_the_body_of_a_field_is_that_field_alone_and_the_rest_are_parameters(call, world) -> None:
    answer = call(
        "POST", "/v1/projects/shop/problemSpecs?problem_spec_id=mood&request_id=r1",
        json={"dataset": "projects/shop/datasets/d", "metric": "f_beta", "beta": 2, "classes": [{"name": "a"}, {"name": "b"}]},
    )  # fmt: skip
    assert answer.json()["name"] == "projects/shop/problemSpecs/mood"
    request = world.recorder.last
    assert (request.request_id, request.problem_spec.beta, request.problem_spec.metric) == ("r1", 2.0, 4)
    assert [one.name for one in request.problem_spec.classes] == ["a", "b"]


def test_a_nested_path_field_is_set_inside_the_body(call, world) -> None:
    answer = call("PATCH", "/v1/projects/shop/policies/weekly", json={"model": "projects/shop/models/m", "maxAge": "3600s"})
    assert answer.json()["name"] == "projects/shop/policies/weekly"
    assert world.recorder.last.policy.max_age.seconds == 3600


def test_numbers_of_64_bits_are_strings_and_empty_lists_are_there(call) -> None:
    version = call(
        "POST", "/v1/projects/shop/datasets/d:updateSchema", json={"columns": [{"name": "age", "kind": "numeric"}]}
    ).json()
    assert version["rowCount"] == str(1 << 40)
    assert version["notes"] == []


def test_one_message_of_a_client_stream_is_one_json_body(call, world) -> None:
    body = {"votes": [{"row": "5", "labeler": "projects/shop/labelers/ann", "classNames": ["spam"], "drawn": "DRAWN_RANDOM"}]}
    answer = call("POST", "/v1/projects/shop/datasets/mail/votes:write", json=body)
    assert answer.json() == {"written": "1", "repeatedCount": "0"}
    assert world.recorder.last.votes[0].row == 5


def test_an_upload_is_the_raw_body_with_its_fields_as_parameters(call, world) -> None:
    content = os.urandom(5 << 20)
    answer = call(
        "POST",
        "/v1/projects/shop/datasets:import?dataset_id=mail&file_name=a.csv&format=csv&description=caf%C3%A9"
        "&holdout.split_column=part&holdout.split_values=test&holdout.split_values=dev&holdout.share=0.25"
        '&column_overrides={"name":"age","kind":"COLUMN_KIND_NUMERIC"}&column_overrides={"name":"id","kind":"id"}',
        content=content,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["latestVersion"]["sizeBytes"] == str(len(content))
    assert world.labeling.digest == hashlib.sha256(content).hexdigest()
    assert 0 < world.labeling.largest <= 1 << 20
    first = world.recorder.last
    assert (first.parent, first.dataset_id, first.description, first.format) == ("projects/shop", "mail", "café", 1)
    assert (first.holdout.split_column, list(first.holdout.split_values), first.holdout.share) == (
        "part",
        ["test", "dev"],
        0.25,
    )
    assert [(one.name, one.kind) for one in first.column_overrides] == [("age", 3), ("id", 6)]


def test_an_upload_of_nothing_reaches_the_service_as_nothing(call, world) -> None:
    answer = call("POST", "/v1/projects/shop/datasets:import?dataset_id=empty", content=b"")
    assert answer.json()["latestVersion"]["sizeBytes"] == "0"


@pytest.mark.parametrize(
    ("query", "field"),
    [("dataset_id=a&content=x", "content"), ("dataset_id=a&holdout.bogus=1", "holdout.bogus"),
     ("dataset_id=a&holdout=x", "holdout"), ("dataset_id=a&holdout.share=7", "holdout.share"),
     ("dataset_id=a&format=xls", "format")],
)  # fmt: skip
def test_an_upload_with_a_wrong_parameter_is_refused_before_it_is_read(call, error, query: str, field: str) -> None:
    answer = call("POST", f"/v1/projects/shop/datasets:import?{query}", content=b"a,b\n1,2\n")
    assert answer.status_code == 400
    assert field in error(answer)["fields"]


def test_an_upload_that_the_service_refuses_at_once_gets_its_error_while_still_sending(call, error) -> None:
    answer = call("POST", "/v1/projects/shop/datasets:import?dataset_id=taken", content=b"x" * (20 << 20))
    assert answer.status_code == 409
    assert error(answer)["reason"] == "ALREADY_EXISTS"


def test_a_file_over_the_limit_is_refused_by_its_length_and_a_stream_of_unknown_length_by_its_bytes(call, error) -> None:
    def endless() -> Any:
        for _ in range(80):
            yield b"x" * (1 << 20)

    for content in (b"x" * (65 << 20), endless()):
        answer = call("POST", "/v1/projects/shop/datasets:import?dataset_id=big", content=content)
        assert answer.status_code == 413
        assert "64 MiB" in error(answer)["message"]


def test_a_form_is_refused_as_a_file_with_what_to_do(call, error) -> None:
    answer = call("POST", "/v1/projects/shop/datasets:import?dataset_id=form", files={"file": b"a,b"})
    assert "--data-binary" in error(answer)["message"]


def test_a_json_body_over_the_limit_is_refused(call, error) -> None:
    answer = call("POST", "/v1/projects/shop/datasets/d/votes:write", content=b" " * (5 << 20))
    assert (answer.status_code, error(answer)["reason"]) == (413, "TOO_LARGE")


def test_a_large_body_within_the_limit_passes(call, world) -> None:
    votes = [{"row": row, "labeler": "projects/shop/labelers/ann", "classNames": ["spam"]} for row in range(16_000)]
    assert call("POST", "/v1/projects/shop/datasets/mail/votes:write", json={"votes": votes}).json()["written"] == "16000"


def test_a_path_of_no_call_is_404_and_a_wrong_verb_is_405_with_what_is_allowed(call, error) -> None:
    assert call("GET", "/v1/nothing/here").status_code == 404
    assert call("GET", "/v1/projects/shop/datasets/d:vanish").status_code == 404
    wrong = call("PUT", "/v1/projects/shop/datasets/d")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "DELETE"}
    told = error(wrong)
    assert (told["code"], told["status"], told["reason"]) == (405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    assert "takes GET or DELETE, not PUT" in told["message"]
    page = call("POST", "/healthz")
    assert (page.status_code, "GET" in page.headers["allow"], error(page)["reason"]) == (405, True, "METHOD_NOT_ALLOWED")


def test_an_unknown_query_parameter_is_told_with_those_that_are_taken_here_and_no_other(call, error) -> None:
    told = error(call("DELETE", "/v1/projects/shop/datasets/d?forse=true"))["fields"]["forse"]
    assert told == "is an unknown query parameter. There are: force, etag, fields."
    for name, value in {"force": "true", "etag": "x", "fields": "name"}.items():
        assert "query parameter" not in call("DELETE", f"/v1/projects/shop/datasets/d?{name}={value}").text
    streamed = error(call("GET", "/v1/projects/shop/runs/r:watch?x=1"))["fields"]["x"]
    assert streamed.endswith("There are: after_sequence."), "fields is for calls with one answer"


@pytest.mark.parametrize(
    ("verb", "path", "body", "field"),
    [
        ("GET", "/v1/projects/shop/datasets?page_size=-1", None, "page_size"),  # a rule of the protos
        ("GET", "/v1/projects/shop/datasets?page_size=x", None, "page_size"),  # a value that can't be read
        ("POST", "/v1/projects/shop/models/m:predict", {}, "rows"),
        ("POST", "/v1/projects/shop/models/m:predict", {"roes": []}, "roes"),
    ],
)
def test_one_wrong_field_looks_the_same_whichever_check_finds_it(call, error, verb, path, body, field) -> None:
    answer = call(verb, path, **({} if body is None else {"json": body}))
    info = next(one for one in answer.json()["error"]["details"] if one["@type"].endswith("ErrorInfo"))
    assert (answer.status_code, info["reason"], info["metadata"]["field"]) == (400, "INVALID_FIELD", field)
    assert list(error(answer)["fields"]) == [field]


def test_a_call_between_services_has_no_route(call) -> None:
    assert call("POST", "/v1/projects/shop/models/m:cutLabelSet", json={}).status_code == 404


def test_a_body_where_none_is_taken_is_told(call, error) -> None:
    answer = call("DELETE", "/v1/projects/shop/datasets/d", content=b"{}")
    assert "takes no body" in error(answer)["message"]
