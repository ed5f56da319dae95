"""Changes through the real door, and what the audit log says of them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from regrow.registry.v1 import registry_pb2, registry_pb2_grpc


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
    assert changed["before"]["prefix"] == made["key"]["prefix"] != changed["after"]["key"]["prefix"]
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
    import time

    end = time.monotonic() + 30
    while len(events := found()) < count and time.monotonic() < end:
        time.sleep(0.02)
    assert len(events) == count
    return events
