"""Long-running operations through the gateway, over REST and gRPC, and through its restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_world import RunningGateway, World
from google.longrunning import operations_pb2 as lro
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration

from regrow import CallError, Client
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, problem_specs_pb2
from services.gateway.operations.preference import preferred
from services.gateway.operations.rules import eligible, is_repeatable

SPEC = "/v1/projects/shop/problemSpecs?problem_spec_id="
ASYNC = {"prefer": "respond-async"}
NOBODYS = "projects/shop/operations/nobodys"
ENDLESS = Duration(seconds=1 << 62)


@pytest.fixture
def client(gateway: RunningGateway, admin: str) -> Iterator[Client]:
    with Client(gateway.grpc, admin, project="shop", retry_for=0) as made:
        yield made


@pytest.fixture
def ended(call: Callable[..., httpx.Response]) -> Callable[[str], dict[str, Any]]:
    def wait(name: str) -> dict[str, Any]:
        answer = call("POST", f"/v1/{name}:wait", json={"timeout": "20s"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["done"], found
        return found

    return wait


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it didn't come true in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda client: client.operations.WaitOperation(lro.WaitOperationRequest(name=NOBODYS, timeout=ENDLESS)), "timeout"),
        (lambda client: client.keys.RotateKey(gateway_pb2.RotateKeyRequest(name="keys/a", grace=ENDLESS)), "grace"),
    ],
)
def test_a_time_that_no_duration_can_be_is_refused(client: Client, ask: Any, field: str) -> None:
    with pytest.raises(CallError) as refused:
        ask(client)
    assert refused.value.reason.startswith("INVALID_FIELD")
    assert field in refused.value.fields


def test_a_slow_call_is_answered_at_once_and_ends_with_its_own_answer(call, ended, world: World) -> None:
    answer = call("POST", f"{SPEC}later", json={"dataset": "projects/shop/datasets/d"}, headers=ASYNC)
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    name = answer.json()["name"]
    assert answer.headers["location"] == f"/v1/{name}"
    assert name.startswith("projects/shop/operations/")
    found = ended(name)
    assert found["response"]["@type"] == "type.googleapis.com/regrow.types.v1.ProblemSpec"
    assert found["response"]["name"] == "projects/shop/problemSpecs/later"
    metadata = found["metadata"]
    assert metadata["@type"] == "type.googleapis.com/regrow.gateway.v1.OperationMetadata"
    assert metadata["method"] == "regrow.labeling.v1.ProblemSpecService/CreateProblemSpec"
    assert (metadata["state"], metadata["attempts"]) == ("OPERATION_STATE_SUCCEEDED", 1)
    assert metadata["createTime"] <= metadata["startTime"] <= metadata["endTime"] < metadata["expireTime"]
    sent = [r for r in world.recorder.requests if getattr(r, "problem_spec_id", "") == "later"]
    assert [one.request_id for one in sent] == [metadata["requestId"]]
    assert metadata["requestId"]
    assert call("GET", f"/v1/{name}").json()["done"]


def test_a_failure_is_kept_as_the_error_that_the_call_would_have_had(call, ended) -> None:
    name = call("DELETE", "/v1/projects/shop/datasets/missing", headers=ASYNC).json()["name"]
    error = ended(name)["error"]
    assert error["code"] == 5
    assert {one["@type"].rpartition(".")[2] for one in error["details"]} >= {"ErrorInfo", "RequestInfo"}
    assert "response" not in ended(name)


def test_a_caller_that_waits_a_little_gets_the_answer_itself(call, error) -> None:
    patient = {"prefer": "respond-async, wait=20"}
    answer = call("POST", f"{SPEC}soon", json={"dataset": "projects/shop/datasets/d"}, headers=patient)
    assert (answer.status_code, answer.json()["name"]) == (200, "projects/shop/problemSpecs/soon")
    assert answer.headers["preference-applied"] == "respond-async, wait=20"
    refused = call("DELETE", "/v1/projects/shop/datasets/missing", headers=patient)
    assert (refused.status_code, error(refused)["reason"]) == (404, "NOT_FOUND")


def test_a_quick_call_is_answered_as_always(call) -> None:
    answer = call("GET", "/v1/projects/shop/datasets/d", headers=ASYNC)
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_a_repeated_request_id_is_the_same_operation_and_another_content_is_refused(call, error) -> None:
    body = {"dataset": "projects/shop/datasets/d"}
    path = f"{SPEC}once&request_id=mine"
    first, second = (call("POST", path, json=body, headers=ASYNC).json()["name"] for _ in range(2))
    assert first == second
    other = call("POST", path, json={**body, "targetColumn": "x"}, headers=ASYNC)
    assert (other.status_code, error(other)["reason"]) == (409, "REQUEST_ID_REUSED")


def test_a_call_that_its_door_refuses_is_no_operation(call, new_key, error) -> None:
    wrong = call("POST", f"{SPEC}x", json={"dataset": "projects/bank/datasets/d"}, headers=ASYNC)
    assert wrong.status_code == 400
    viewer = call("POST", f"{SPEC}x", key=new_key("viewer"), json={}, headers=ASYNC)
    assert (viewer.status_code, error(viewer)["reason"]) == (403, "PERMISSION_DENIED")


def test_an_operation_is_seen_in_its_project_alone(call, new_key, error) -> None:
    name = call("POST", f"{SPEC}private", json={}, headers=ASYNC).json()["name"]
    stranger = new_key("admin", "bank")
    for verb, path in (("GET", f"/v1/{name}"), ("DELETE", f"/v1/{name}"), ("POST", f"/v1/{name}:cancel")):
        assert call(verb, path, key=stranger).status_code == 403
    moved = name.replace("projects/shop", "projects/bank")
    assert error(call("GET", f"/v1/{moved}", key=stranger))["reason"] == "NOT_FOUND"
    listed = call("GET", "/v1/projects/bank/operations", key=stranger).json()
    assert name.rpartition("/")[2] not in str(listed)


def test_operations_are_listed_filtered_page_by_page_and_forgotten(call, ended) -> None:
    names = [call("POST", f"{SPEC}list-{i}&request_id=list-{i}", json={}, headers=ASYNC).json()["name"] for i in range(3)]
    for name in names:
        ended(name)
    query = {"filter": "done = true AND metadata.request_id = list-*", "page_size": "2"}
    first = call("GET", "/v1/projects/shop/operations", params=query).json()
    second = call("GET", "/v1/projects/shop/operations", params={**query, "page_token": first["nextPageToken"]}).json()
    assert [one["name"] for page in (first, second) for one in page["operations"]] == names[::-1]
    assert call("DELETE", f"/v1/{names[0]}").status_code == 200
    assert call("GET", f"/v1/{names[0]}").status_code == 404


def test_over_grpc_a_call_is_started_by_its_name_and_awaited(client: Client) -> None:
    request = problem_specs_pb2.CreateProblemSpecRequest(parent="projects/shop", problem_spec_id="by-grpc")
    request.problem_spec.dataset = "projects/shop/datasets/d"
    started = client.start(client.specs.CreateProblemSpec, request)
    assert started.name.startswith("projects/shop/operations/")
    assert client.result(client.specs.CreateProblemSpec, started.name).name == "projects/shop/problemSpecs/by-grpc"
    failing = client.start(
        client.datasets.DeleteDataset, datasets_pb2.DeleteDatasetRequest(name="projects/shop/datasets/missing")
    )
    with pytest.raises(CallError) as caught:
        client.result(client.datasets.DeleteDataset, failing.name)
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "NOT_FOUND")


def test_what_cannot_be_an_operation_is_told_with_what_can(client: Client) -> None:
    with pytest.raises(CallError, match=r"is no call that can be an operation. These are: .*CreateLabelSet"):
        client.start(client.datasets.GetDataset, datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/d"))
    with pytest.raises(CallError, match=r"isn't a regrow.labeling.v1.DeleteDatasetRequest"):
        client.start(client.datasets.DeleteDataset, datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/d"))  # type: ignore[arg-type]
    packed = any_pb2.Any()
    packed.Pack(datasets_pb2.DeleteDatasetRequest(name="projects/bank/datasets/d"))
    request = client.operation_starts.StartOperation.request(
        parent="projects/shop", method="regrow.labeling.v1.DatasetService/DeleteDataset", request=packed
    )
    with pytest.raises(CallError, match="another project"):
        client.operation_starts.StartOperation(request)


def test_a_running_operation_is_cancelled_and_its_call_ends(client: Client, world: World) -> None:
    world.recorder.streaming.clear()
    world.recorder.cancelled.clear()
    request = datasets_pb2.DeleteDatasetRequest(name="projects/shop/datasets/slow")
    name = client.start(client.datasets.DeleteDataset, request).name
    assert world.recorder.streaming.wait(20)
    waited = client.wait_for_operation(name, seconds=0.1)
    assert not waited.done
    with pytest.raises(CallError, match="It still runs"):
        client.operations.DeleteOperation(lro.DeleteOperationRequest(name=name))
    client.operations.CancelOperation(lro.CancelOperationRequest(name=name))
    assert client.wait_for_operation(name, seconds=20).error.code == 1
    assert world.recorder.cancelled.wait(20)


def test_every_slow_call_with_one_answer_can_be_one_and_says_whether_it_may_be_run_again() -> None:
    names = {path.rpartition("/")[2]: method for path, method in eligible().items()}
    assert {"CreateLabelSet", "ApplyLabelers", "UpdateSchema", "AppendRows", "GetProfile", "CreateProblemSpec"} <= set(names)
    repeatable = {name for name, method in names.items() if is_repeatable(method)}
    assert {"CreateLabelSet", "ApplyLabelers", "AppendRows", "GetProfile", "NextRows"} <= repeatable
    assert not {"UpdateSchema", "DeleteDataset"} & repeatable


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("", None), ("wait=5", None), ("respond-sync", None), ("return=minimal", None),
        ("respond-async", 0.0), ("Respond-Async", 0.0), ("respond-async; foo=1, wait=7", 7.0), ('wait="3", respond-async', 3.0),
        ("respond-async, wait=100000", 0.0), ("respond-async, wait=9999", 60.0), ("respond-async, wait=-1", 0.0),
    ],
)  # fmt: skip
def test_the_prefer_header_is_read_as_rfc_7240_says(header: str, wait: float | None) -> None:
    found = preferred(header)
    assert (None if found is None else found.wait) == wait


@pytest.mark.slow
def test_a_gateway_that_stops_gives_its_operations_to_the_next_one(tmp_path: Path) -> None:
    """The first ends while two calls run; the second runs again the one that may be, and says of the other that it can't."""
    world = World(tmp_path)
    try:
        first = RunningGateway(world.settings())
        held = world.labeling.held = threading.Event()
        with Client(first.grpc, first.first_key or "", project="shop", retry_for=0) as client:
            request = problem_specs_pb2.CreateProblemSpecRequest(parent="projects/shop", problem_spec_id="held")
            request.problem_spec.dataset = "projects/shop/datasets/d"
            repeatable = client.start(client.specs.CreateProblemSpec, request).name
            deleting = datasets_pb2.DeleteDatasetRequest(name="projects/shop/datasets/held")
            other = client.start(client.datasets.DeleteDataset, deleting).name
            both = {"CreateProblemSpecRequest", "DeleteDatasetRequest"}
            until(lambda: both <= {type(r).__name__ for r in world.recorder.requests if "held" in str(r)})
        stopping = threading.Thread(target=first.stop)
        stopping.start()
        stopping.join(30)
        held.set()
        world.labeling.held = None
        second = RunningGateway(world.settings())
        with Client(second.grpc, first.first_key or "", project="shop", retry_for=0) as client:
            spec = client.result(client.specs.CreateProblemSpec, repeatable)
            assert spec.name == "projects/shop/problemSpecs/held"
            sent = [r for r in world.recorder.requests if getattr(r, "problem_spec_id", "") == "held"]
            assert len(sent) == 2
            assert sent[0].request_id == sent[1].request_id != ""
            with pytest.raises(CallError) as caught:
                client.result(client.datasets.DeleteDataset, other)
            assert caught.value.reason == "OPERATION_INTERRUPTED"
        second.stop()
    finally:
        world.stop()
