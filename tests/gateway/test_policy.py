"""Who may call what: the table against the descriptors, and the rules on real calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import regrow
from services.common.errors import InvalidField, PermissionDenied
from services.common.rpc.principal import Principal
from services.gateway.methods import public_methods
from services.gateway.oip.methods import inference_methods
from services.gateway.policy import FREE_TEXT, RANKS, RULES, check_request, check_role, resource_names

WHOLE = descriptor_pb2.FileDescriptorSet.FromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())

ALL_METHODS = {**public_methods(), **inference_methods()}


def test_every_public_rpc_has_a_rule_and_no_rule_is_left_over() -> None:
    assert set(RULES) == set(ALL_METHODS)


def test_every_rpc_of_the_protos_is_public_or_the_regrowth_services() -> None:
    rpcs = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in WHOLE.file if file.package.startswith("regrow.") for service in file.service for method in service.method
    }  # fmt: skip
    assert {path.split("/")[1] for path in rpcs - set(RULES)} == {"regrow.labeling.v1.RegrowthService"}


@pytest.mark.parametrize("path", sorted(RULES))
def test_every_rpc_has_a_deadline_and_names_a_project_where_it_has_one(path: str) -> None:
    rule, method = RULES[path], ALL_METHODS[path]
    assert 0 < rule.seconds <= 3600
    names = {field.name for field in method.request.DESCRIPTOR.fields} & {"name", "parent"}
    if names and not any(one in path for one in ("KeyService", "SharedMemory", "EventService")):  # of no project
        assert rule.project in names
    if rule.project:
        owner: Descriptor = method.request.DESCRIPTOR
        *parents, leaf = rule.project.split(".")
        for parent in parents:
            owner = owner.fields_by_name[parent].message_type
        assert owner.fields_by_name[leaf].type == FieldDescriptor.TYPE_STRING


def test_every_field_whose_comment_gives_a_format_of_a_project_is_looked_at() -> None:
    formats = {
        file.message_type[location.path[1]].field[location.path[3]].name
        for file in WHOLE.file if file.package.startswith("regrow.")
        for location in file.source_code_info.location
        if "Format: `projects/" in location.leading_comments and len(location.path) == 4 and location.path[0] == 4
        and location.path[2] == 2
    }  # fmt: skip
    assert {"name", "parent", "label_set", "model", "problem_spec"} <= formats
    assert not formats & FREE_TEXT


EVENTS_OF_THEIR_OWN = ("Predict", "SendFeedback", "BatchSendFeedback", "StreamFeedback")
READING = ("Get", "List", "Export", "Download", "Watch", "Validate", "Preview", "NextRows", "Wait")
INFERENCE_READING = (
    "Server",
    "Model",
    "RepositoryIndex",
    "SystemSharedMemory",
    "CudaSharedMemory",
    "TraceSetting",
    "LogSettings",
)
"""Of the Open Inference Protocol: what reads, predicts, or is refused whoever asks."""


@pytest.mark.parametrize("path", sorted(RULES))
def test_what_changes_something_is_audited_and_needs_more_than_a_viewer(path: str) -> None:
    rule, name = RULES[path], path.rpartition("/")[2]
    unchanging = INFERENCE_READING if path in inference_methods() else (*READING, *EVENTS_OF_THEIR_OWN)
    assert rule.changes is not name.startswith(unchanging)
    assert not rule.changes or (RANKS[rule.role] > 1 and not rule.one_model)


@pytest.mark.parametrize("path", sorted(path for path, rule in RULES.items() if rule.before))
def test_what_is_kept_of_a_resource_before_its_change_is_read_by_name_with_no_higher_role(path: str) -> None:
    getter = f"{path.rpartition('/')[0]}/{RULES[path].before}"
    assert not RULES[getter].changes
    assert RANKS[RULES[getter].role] <= RANKS[RULES[path].role]
    assert "name" in public_methods()[getter].request.DESCRIPTOR.fields_by_name


def test_changes_of_what_has_a_name_keep_what_was_before() -> None:
    verbs = ("Delete", "Update", "Set", "Retire", "Cancel", "Revoke", "Rotate")
    named = [path for path, rule in RULES.items() if rule.changes and path.rpartition("/")[2].startswith(verbs)]
    assert [path for path in named if not RULES[path].before] == []


def test_a_key_of_some_models_makes_calls_about_one_model_or_about_itself_alone() -> None:
    for path, method in public_methods().items():
        rule, templates = RULES[path], [binding.template for binding in method.bindings]
        if rule.one_model and rule.project:
            assert all("projects/*/models/*" in template for template in templates), path
        if rule.role == "viewer" and all("=projects/*/models/*" in template for template in templates):
            assert rule.one_model, path
    for path in inference_methods():
        name, changes = path.rpartition("/")[2], RULES[path].changes
        assert RULES[path].one_model is (not changes and name.startswith(("Model", "RepositoryIndex", "ServerMetadata"))), path


def test_without_a_key_the_health_of_the_server_is_all_that_is_told() -> None:
    assert {path.rpartition("/")[2] for path, rule in RULES.items() if rule.keyless} == {"ServerLive", "ServerReady"}


def test_every_secret_in_an_answer_is_marked_so_that_no_audit_event_holds_it() -> None:
    def secrets(descriptor: Descriptor, path: str, seen: frozenset[str]) -> list[str]:
        found = []
        for field in descriptor.fields:
            at = f"{path}.{field.name}"
            if "secret" in field.name or (field.name.endswith(("password", "_token")) and field.name != "next_page_token"):
                found += [] if field.GetOptions().debug_redact else [at]
            if field.message_type is not None and field.message_type.full_name not in seen:
                found += secrets(field.message_type, at, seen | {field.message_type.full_name})
        return found

    responses = {method.response.DESCRIPTOR.full_name: method.response.DESCRIPTOR for method in public_methods().values()}
    assert [one for name, found in responses.items() for one in secrets(found, name, frozenset())] == []


MATRIX = [
    ("GET", "/v1/projects/shop/datasets/d", None, "viewer"),
    ("GET", "/v1/caller", None, "viewer"),
    ("POST", "/v1/projects/shop/datasets/d/votes:write", {"votes": []}, "labeler"),
    ("POST", "/v1/projects/shop/runs", {}, "editor"),
    ("DELETE", "/v1/projects/shop/datasets/d", None, "editor"),
    ("GET", "/v1/keys", None, "admin"),
]


@pytest.mark.parametrize("role", RANKS)
def test_a_role_may_do_what_it_and_lower_ones_may(call, new_key, error, role: str) -> None:
    key = new_key(role)
    for verb, path, body, needed in MATRIX:
        answer = call(verb, path, key=key, **({"json": body} if body is not None else {}))
        allowed = RANKS[role] >= RANKS[needed]
        assert (answer.status_code == 200) is allowed, (path, answer.text)
        if not allowed:
            assert error(answer)["reason"] == "PERMISSION_DENIED"
            assert needed in error(answer)["message"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic abc", "Bearer rg_short", "Bearer rg_aaaaaaaa_" + "x" * 43, "rg_aaaaaaaa_x"]
)
def test_without_a_good_key_a_call_is_unauthenticated(http, error, header: str) -> None:
    answer = http.get("/v1/caller", headers={"authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert error(answer)["status"] == "UNAUTHENTICATED"


def test_a_key_for_one_project_enters_no_other_whether_it_exists_or_not(call, new_key, error) -> None:
    key = new_key("editor", "shop")
    assert call("GET", "/v1/projects/shop/datasets/d", key=key).status_code == 200
    answers = [call("GET", f"/v1/projects/{project}/datasets/d", key=key) for project in ("bank", "nowhere", "-")]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert (
        len({error(one)["message"].replace("bank", "x").replace("nowhere", "x").replace("'-'", "'x'") for one in answers}) == 1
    )


@pytest.mark.parametrize(
    ("verb", "path", "body", "field"),
    [
        ("POST", "/v1/projects/shop/runs", {"labelSet": "projects/bank/datasets/d/labelSets/l"}, "run.label_set"),
        ("POST", "/v1/projects/shop/runs", {"model": "projects/bank/models/m"}, "run.model"),
        (
            "POST",
            "/v1/projects/shop/datasets/d/votes:write",
            {"votes": [{}, {"labeler": "projects/bank/labelers/l"}]},
            "votes[1].labeler",
        ),
        (
            "POST",
            "/v1/projects/shop/problemSpecs?problem_spec_id=x",
            {"dataset": "projects/bank/datasets/d"},
            "problem_spec.dataset",
        ),
        ("PATCH", "/v1/projects/shop/policies/p", {"model": "projects/bank/models/m"}, "policy.model"),
        ("GET", "/v1/projects/shop/runs?label_set=projects/bank/datasets/d/labelSets/l", None, "label_set"),
        (
            "POST",
            "/v1/projects/shop/models/m/aliases/champion:set",
            {"version": "projects/bank/models/m/versions/1"},
            "version",
        ),
    ],
)
def test_a_name_of_another_project_inside_a_request_is_refused(call, new_key, error, verb, path, body, field) -> None:
    for key in (None, new_key("admin", "shop")):
        answer = call(verb, path, key=key, **({"json": body} if body is not None else {}))
        assert answer.status_code == 400, answer.text
        assert "bank" in error(answer)["fields"][field]


def test_free_text_may_begin_like_a_resource_name(call) -> None:
    body = {"dataset": "projects/shop/datasets/d", "classes": [{"name": "projects/bank/x", "description": "projects/bank/y"}]}
    assert call("POST", "/v1/projects/shop/problemSpecs?problem_spec_id=x", json=body).status_code == 200


def test_a_request_without_its_name_or_with_another_kind_of_name_is_refused() -> None:
    method = public_methods()["/regrow.labeling.v1.DatasetService/GetDataset"]
    somebody = Principal(key_id="k", role="admin")
    for name in ("", "datasets/d", "projects/", "projects//datasets/d", "Projects/shop/datasets/d"):
        with pytest.raises(InvalidField):
            check_request(RULES[method.path], method.request(name=name), somebody)


def test_a_service_has_no_role_at_the_public_door() -> None:
    with pytest.raises(PermissionDenied):
        check_role(RULES["/regrow.gateway.v1.KeyService/GetCaller"], Principal(key_id="s", role="service"))


def test_names_are_found_wherever_they_are() -> None:
    method = public_methods()["/regrow.labeling.v1.VoteService/WriteVotes"]
    request = method.request(parent="projects/a/datasets/d")
    request.votes.add(labeler="projects/b/labelers/l", class_names=["projects/c/x"])
    assert dict(resource_names(request)) == {"parent": "projects/a/datasets/d", "votes[0].labeler": "projects/b/labelers/l"}


def test_the_service_behind_hears_who_calls_and_by_which_request_id(call, world, new_key) -> None:
    key = new_key("labeler", "shop", name="phone app")
    answer = call("GET", "/v1/projects/shop/datasets/d", key=key, headers={"x-request-id": "trace-17"})
    assert answer.headers["x-request-id"] == "trace-17"
    principal = world.recorder.principals[-1]
    assert (principal.role, principal.projects, principal.name) == ("labeler", ("shop",), "phone app")
    assert world.recorder.request_ids[-1] == "trace-17"


def test_a_request_id_that_is_unfit_for_logs_is_replaced(call) -> None:
    assert call("GET", "/v1/caller", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] != "a b\tc"
