"""Limits at the real door: set on keys, told over REST and gRPC, counted for rows and feedback."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from services.common.rpc.status import detail, status_of


@pytest.fixture
def limited(call) -> Any:
    """The secret and name of a key with limits."""

    def make(role: str = "viewer", **limits: Any) -> tuple[str, str]:
        answer = call("POST", "/v1/keys", json={"role": role, "displayName": "shop app", "limits": limits})
        assert answer.status_code == 200, answer.text
        return answer.json()["secret"], answer.json()["key"]["name"]

    return make


def test_a_key_that_calls_too_often_hears_when_to_come_back(call, limited, error) -> None:
    secret, _ = limited(callsPerSecond=0.01, burst=2)
    first, second, third = (call("GET", "/v1/caller", key=secret) for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("2", "1")
    assert int(second.headers["ratelimit-reset"]) > 100
    assert int(third.headers["retry-after"]) > 60
    assert (third.headers["ratelimit-limit"], third.headers["ratelimit-remaining"]) == ("2", "0")
    assert int(third.headers["ratelimit-reset"]) > 100
    inference = call("GET", "/v2/models/none/ready", key=secret)
    assert (inference.status_code, inference.headers["ratelimit-remaining"]) == (429, "0")
    failure = error(third)
    assert (failure["reason"], failure["status"]) == ("QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED")
    violation = next(one for one in failure["details"] if one["@type"].endswith("QuotaFailure"))["violations"][0]
    assert violation == {"subject": "shop app", "description": "0.01 calls a second"}


def test_over_grpc_it_hears_the_same(gateway, limited) -> None:
    secret, _ = limited(callsPerSecond=0.01)
    metadata = (("authorization", f"Bearer {secret}"),)
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = gateway_pb2_grpc.KeyServiceStub(channel)
        stub.GetCaller(gateway_pb2.GetCallerRequest(), metadata=metadata, timeout=30)
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetCaller(gateway_pb2.GetCallerRequest(), metadata=metadata, timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = status_of(refused.value)
    assert detail(status, error_details_pb2.QuotaFailure()).violations[0].subject == "shop app"
    assert detail(status, error_details_pb2.RetryInfo()).retry_delay.seconds > 60


def test_a_key_without_a_rate_has_no_rate_headers(call, new_key) -> None:
    assert "ratelimit-limit" not in call("GET", "/v1/caller", key=new_key("viewer")).headers


def test_rows_and_feedback_of_a_day_are_counted_and_what_failed_is_not(call, world, limited, error) -> None:
    model = world.champion("quota")
    secret, name = limited(rowsPerDay=5, feedbackPerDay=2)

    def predict(*rows: dict[str, Any]) -> Any:
        return call("POST", f"/v1/{model}:predict", key=secret, json={"rows": rows})

    def feedback(*pieces: dict[str, Any]) -> Any:
        return call("POST", f"/v1/{model}/feedback:batch", key=secret, json={"feedback": pieces})

    row, piece = {"text": "free"}, {"predictionId": "p", "classNames": ["spam"]}
    assert predict(row, row, row).status_code == 200
    assert predict({"text": "free", "length": "no number"}, row).status_code in (200, 400)
    before = call("GET", f"/v1/{name}").json()["usage"]
    refused = predict(*[row] * 6)
    assert (refused.status_code, error(refused)["reason"]) == (429, "QUOTA_EXCEEDED")
    assert "5 rows a day" in error(refused)["message"] and int(refused.headers["retry-after"]) > 0
    assert call("GET", f"/v1/{name}").json()["usage"]["rows"] == before["rows"]
    assert feedback({**piece, "classNames": ["nothing"]}).status_code == 400
    assert feedback(piece, piece).status_code == 200
    assert feedback(piece).status_code == 429
    streamed = call(
        "POST", f"/v1/{model}/feedback:stream", key=secret, content=b'{"prediction_id":"p","class_names":["spam"]}\n',
        headers={"content-type": "application/x-ndjson"},
    )  # fmt: skip
    assert "QUOTA_EXCEEDED" in streamed.text
    used = call("GET", f"/v1/{name}").json()["usage"]
    assert used["feedback"] == "2" and used["resetTime"].endswith("00:00:00Z")


def test_rows_of_a_batch_prediction_count_when_it_is_made(call, limited, error) -> None:
    secret, name = limited(rowsPerDay=150, role="editor")

    def create(made: str, rows: str = "ROW_FILTER_ALL", version: str = "latest") -> Any:
        body = {
            "datasetVersion": f"projects/shop/datasets/d/versions/{version}",
            "model": "projects/shop/models/m",
            "rowFilter": rows,
        }
        query = f"batch_prediction_id={made}&request_id=of-{made}"
        return call("POST", f"/v1/projects/shop/batchPredictions?{query}", key=secret, json=body)

    def used() -> int:
        return int(call("GET", f"/v1/{name}").json()["usage"].get("rows", 0))

    assert create("taken").status_code == 409 and used() == 0
    assert create("first").status_code == 200 and used() == 100
    assert create("first").status_code == 200 and used() == 100, "a repeated call counts once"
    refused = create("second")
    assert (refused.status_code, error(refused)["reason"]) == (429, "QUOTA_EXCEEDED")
    assert create("held-out", "ROW_FILTER_HOLDOUT").status_code == 200 and used() == 120
    assert create("unknown", version="9").status_code == 200 and used() == 120, "the service behind says what is wrong with it"


def test_limits_change_without_a_new_secret_and_the_change_is_audited(call, limited, error) -> None:
    secret, name = limited(callsPerSecond=0.01)
    assert call("GET", "/v1/caller", key=secret).status_code == 200
    assert call("GET", "/v1/caller", key=secret).status_code == 429
    body = {"limits": {"callsPerSecond": 0}, "displayName": "the app"}
    changed = call("PATCH", f"/v1/{name}?update_mask=limits.callsPerSecond,displayName", json=body)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["limits"]["callsPerSecond"], changed.json()["displayName"]) == (0.0, "the app")
    assert [call("GET", "/v1/caller", key=secret).status_code for _ in range(3)] == [200] * 3
    unset = call("PATCH", f"/v1/{name}?update_mask=limits", json={}).json()
    assert unset.get("limits", {}) == {}
    (last, first) = call("GET", f"/v1/auditEvents?resource={name}&method=UpdateKey").json()["auditEvents"]
    assert first["before"]["limits"]["callsPerSecond"] == 0.01
    assert last["before"]["limits"]["callsPerSecond"] == 0 and "callsPerSecond" not in last["after"].get("limits", {})


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("", {"displayName": "x"}, "update_mask"),
        ("update_mask=role", {"role": "admin"}, "update_mask"),
        ("update_mask=projects", {}, "update_mask"),
        ("update_mask=limits", {"limits": {"rowsPerDay": -1}}, "key.limits.rows_per_day"),
        ("update_mask=expireTime", {"expireTime": "2001-01-01T00:00:00Z"}, "key.expire_time"),
    ],
)
def test_a_key_changes_in_nothing_else(call, limited, error, query, body, field) -> None:
    _, name = limited()
    answer = call("PATCH", f"/v1/{name}?{query}", json=body)
    assert answer.status_code == 400, answer.text
    assert field in error(answer)["fields"]


def test_the_last_admin_key_gets_no_end(call, error) -> None:
    masters = [
        key for key in call("GET", "/v1/keys?page_size=1000").json()["keys"]
        if key["role"] == "ROLE_ADMIN" and not key["projects"] and "expireTime" not in key
    ]  # fmt: skip
    for key in masters:
        if key["name"] != "keys/first-admin":
            call("POST", f"/v1/{key['name']}:revoke", json={})
    answer = call("PATCH", "/v1/keys/first-admin?update_mask=ttl", json={"ttl": "3600s"})
    assert (answer.status_code, error(answer)["reason"]) == (400, "LAST_ADMIN_KEY")
