"""Changes through the real door, and what the audit log says of them."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from regrow.registry.v1 import registry_pb2, registry_pb2_grpc
from regrow.training.v1 import runs_pb2, runs_pb2_grpc


@pytest.fixture
def audit(call) -> Any:
    """Events of the audit log that a query finds, newest first."""

    def found(query: str = "", key: str | None = None) -> list[dict[str, Any]]:
        answer = call("GET", f"/v1/auditEvents?{query}", key=key)
        assert answer.status_code == 200, answer.text
        events: list[dict[str, Any]] = answer.json()["auditEvents"]
        return events

    return found


def test_an_alias_that_moves_is_kept_with_who_from_where_to_where(call, world, audit, new_key) -> None:
    model = world.champion("audited")
    second = world.version(model, good=2.0)
    alias = f"{model}/aliases/champion"
    etag = call("GET", f"/v1/{alias}").json()["etag"]
    key = new_key("editor", "shop", name="Ann's laptop")
    body = {"version": second, "etag": etag, "why": "better"}
    assert call("POST", f"/v1/{alias}:set", key=key, json=body, headers={"x-request-id": "audit-1"}).status_code == 200
    (event,) = audit(f"resource={alias}&method=SetAlias")
    assert event["actor"]["displayName"] == "Ann's laptop"
    assert (event["actor"]["role"], event["outcome"], event["requestId"]) == ("ROLE_EDITOR", "OK", "audit-1")
    assert (event["before"]["version"], event["after"]["version"]) == (f"{model}/versions/1", second)
    assert event["sourceAddress"].startswith("127.0.0.1:")


def test_a_key_is_followed_from_its_making_to_its_end_without_its_secret(call, audit) -> None:
    made = call("POST", "/v1/keys", json={"role": "viewer", "displayName": "app"}).json()
    name = made["key"]["name"]
    rotated = call("POST", f"/v1/{name}:rotate", json={}).json()
    call("POST", f"/v1/{name}:revoke", json={})
    revoked, changed, created = audit(f"resource={name}")
    assert [one["method"].rpartition("/")[2] for one in (revoked, changed, created)] == ["RevokeKey", "RotateKey", "CreateKey"]
    assert "revokeTime" in revoked["after"] and "revokeTime" not in revoked["before"]
    assert changed["before"]["prefix"] == made["key"]["prefix"] != changed["after"]["prefix"]
    assert created["after"]["prefix"] == made["key"]["prefix"]
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in str([revoked, changed, created])


def test_a_refused_call_is_kept_as_refused_a_read_too(call, audit, new_key) -> None:
    key = new_key("viewer", "shop", name="curious")
    assert call("GET", "/v1/projects/bank/datasets/d", key=key).status_code == 403
    assert call("DELETE", "/v1/projects/shop/datasets/d", key=key).status_code == 403
    name = call("GET", "/v1/caller", key=key).json()["name"].removeprefix("keys/")
    found = _eventually(lambda: audit(f"actor={name}&outcome=PERMISSION_DENIED"), 2)
    assert {one["method"].rpartition("/")[2] for one in found} == {"GetDataset", "DeleteDataset"}
    assert next(one for one in found if "Get" in one["method"])["resource"] == "projects/bank/datasets/d"


def test_a_key_that_is_refused_again_and_again_is_two_events_and_not_one_for_each_call(call, audit, new_key, gateway) -> None:
    key = new_key("viewer", "shop", name="stubborn")
    name = call("GET", "/v1/caller", key=key).json()["name"].removeprefix("keys/")
    for number in range(20):
        assert call("DELETE", f"/v1/projects/shop/datasets/d{number}", key=key).status_code == 403
    (event,) = _eventually(lambda: audit(f"actor={name}&outcome=PERMISSION_DENIED"), 1)
    assert (event["resource"], event["callCount"]) == ("projects/shop/datasets/d0", "1")


def test_a_key_that_is_good_no_more_is_kept_with_whose_it_was_and_one_that_is_unknown_is_not(call, audit, new_key) -> None:
    key = new_key("editor", "shop", name="gone")
    name = call("GET", "/v1/caller", key=key).json()["name"]
    ending = call("POST", "/v1/keys", json={"role": "viewer", "displayName": "short", "ttl": "0.3s"}).json()
    call("POST", f"/v1/{name}:revoke", json={})
    end = time.monotonic() + 30
    while call("GET", "/v1/projects/shop/runs", key=ending["secret"]).status_code != 401 and time.monotonic() < end:
        time.sleep(0.05)
    for secret in (key, f"rg_aaaaaaaa_{'x' * 43}", f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}"):
        assert call("GET", "/v1/projects/shop/runs", key=secret).status_code == 401
    for actor, who in ((name, "gone"), (ending["key"]["name"], "short")):
        (event,) = _eventually(lambda actor=actor: audit(f"outcome=UNAUTHENTICATED&actor={actor}"), 1)
        assert (event["actor"]["displayName"], event["resource"]) == (who, "projects/shop")
        assert event["sourceAddress"].startswith("127.0.0.1:") and event["method"].endswith("RunService/ListRuns")
    assert len(audit("outcome=UNAUTHENTICATED")) == 2


def test_the_log_of_a_refused_call_says_whence_and_with_which_key_and_never_its_secret(call, new_key, capfd) -> None:
    key = new_key("viewer", "shop", name="logged")
    name = call("GET", "/v1/caller", key=key).json()["name"].removeprefix("keys/")
    call("POST", f"/v1/keys/{name}:revoke", json={})
    capfd.readouterr()
    unknown = f"rg_bbbbbbbb_{'x' * 43}"
    for secret in (key, unknown, "nonsense"):
        assert call("GET", "/v1/caller", key=secret).status_code == 401
    written = "".join(capfd.readouterr())
    mine, others, none = (line for line in written.splitlines() if "UNAUTHENTICATED" in line)
    assert f"key_id={name} " in mine and f"key_prefix={key[:11]}" in mine
    assert "key_prefix=rg_bbbbbbbb" in others and "rg_" not in none
    assert all("source=127.0.0.1:" in line for line in (mine, others, none))
    assert key not in written and "xxxx" not in written and "nonsense" not in written


def test_a_refused_call_about_a_whole_project_names_it(call, audit, new_key, gateway, world) -> None:
    model = world.champion("audited-scope")
    scoped = call("POST", "/v1/keys", json={"role": "viewer", "displayName": "scoped", "models": [model]}).json()
    editor = new_key("editor", "shop", name="no admin")
    admin_of_shop = new_key("admin", "shop", name="shop's admin")
    with grpc.insecure_channel(gateway.grpc) as channel:
        metadata = (("authorization", f"Bearer {scoped['secret']}"),)
        with pytest.raises(grpc.RpcError):
            runs_pb2_grpc.RunServiceStub(channel).ListRuns(
                runs_pb2.ListRunsRequest(parent="projects/shop"), metadata=metadata, timeout=30
            )
    assert call("GET", "/v1/projects/shop/models", key=scoped["secret"]).status_code == 403
    wish = {"role": "viewer", "displayName": "more", "projects": ["projects/bank"]}
    assert call("POST", "/v1/keys", key=editor, json=wish).status_code == 403
    assert call("POST", "/v1/keys", key=admin_of_shop, json=wish).status_code == 403

    def resources(secret: str) -> list[tuple[str, str]]:
        name = call("GET", "/v1/caller", key=secret).json()["name"]
        return [(e["method"].rpartition("/")[2], e["resource"]) for e in audit(f"outcome=PERMISSION_DENIED&actor={name}")]

    found = _eventually(lambda: resources(scoped["secret"]), 2)
    assert sorted(found) == [("ListModels", "projects/shop"), ("ListRuns", "projects/shop")]
    assert _eventually(lambda: resources(editor), 1) == [("CreateKey", "projects/shop")]
    assert _eventually(lambda: resources(admin_of_shop), 1) == [("CreateKey", "projects/bank")]


def test_a_call_made_as_an_operation_tells_where_it_was_asked_for(call, audit) -> None:
    body = {"dataset": "projects/shop/datasets/mail", "targetColumn": "spam"}
    started = call(
        "POST", "/v1/projects/shop/problemSpecs?problem_spec_id=audited-later", json=body, headers={"prefer": "respond-async"}
    )
    assert started.status_code == 202, started.text
    (event,) = _eventually(lambda: audit("resource=projects/shop/problemSpecs/audited-later&method=CreateProblemSpec"), 1)
    assert event["sourceAddress"].startswith("127.0.0.1:")


def test_a_change_that_fails_is_kept_with_why(call, audit) -> None:
    assert call("DELETE", "/v1/projects/nowhere-at-all").status_code == 404
    (event,) = _eventually(lambda: audit("resource=projects/nowhere-at-all&method=DeleteProject"), 1)
    assert (event["outcome"], event["reason"], "after" in event) == ("NOT_FOUND", "NOT_FOUND", False)


def test_a_deleted_project_leaves_what_it_was(call, audit) -> None:
    call("POST", "/v1/projects?project_id=passing", json={"description": "for a while"})
    assert call("DELETE", "/v1/projects/passing").status_code == 200
    (event,) = audit("resource=projects/passing&method=DeleteProject")
    assert event["before"]["name"] == "projects/passing"


def test_an_upload_and_grpc_calls_are_kept_too(call, gateway, admin, audit) -> None:
    call("POST", "/v1/projects/shop/datasets:import?dataset_id=audited-upload", content=b"a,b\n1,2\n")
    (event,) = audit("resource=projects/shop/datasets/audited-upload")
    assert event["after"]["latestVersion"]["sizeBytes"] == "8"
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = registry_pb2_grpc.ModelServiceStub(channel)
        request = registry_pb2.CreateModelRequest(parent="projects/shop", model_id="audited-grpc")
        stub.CreateModel(request, metadata=(("authorization", f"Bearer {admin}"),), timeout=30)
    (event,) = audit("resource=projects/shop/models/audited-grpc")
    assert event["sourceAddress"].startswith("127.0.0.1:")


def test_predictions_and_reads_leave_nothing(call, world, audit) -> None:
    model = world.champion("unaudited")
    assert call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "free"}]}).status_code == 200
    assert call("GET", f"/v1/{model}").status_code == 200
    assert [one for one in audit(f"resource={model}") if "Predict" in one["method"] or "/Get" in one["method"]] == []


def test_an_admin_of_a_project_sees_its_events_and_no_others(call, audit, new_key) -> None:
    call("DELETE", "/v1/projects/bank/datasets/seen-by-bank")
    events = audit("page_size=1000", key=new_key("admin", "bank"))
    assert events and all(one["resource"].startswith("projects/bank") for one in events)
    assert call("GET", "/v1/auditEvents", key=new_key("editor")).status_code == 403


def test_pages_go_on_where_the_last_one_ended(call, audit) -> None:
    first = call("GET", "/v1/auditEvents?page_size=3").json()
    second = call("GET", f"/v1/auditEvents?page_size=3&page_token={first['nextPageToken']}").json()
    numbers = [int(one["name"].removeprefix("auditEvents/")) for one in first["auditEvents"] + second["auditEvents"]]
    assert numbers == list(range(numbers[0], numbers[0] - 6, -1))


def test_the_first_key_is_in_the_log_as_made_on_the_machine(audit) -> None:
    (event,) = audit("resource=keys/first-admin&method=CreateKey")
    assert event["actor"]["keyId"] == "machine"


def _eventually(found: Any, count: int) -> Any:
    """What isn't waited for by its call (refusals, failures) is kept a moment later."""
    end = time.monotonic() + 30
    while len(events := found()) < count and time.monotonic() < end:
        time.sleep(0.02)
    assert len(events) == count
    return events
