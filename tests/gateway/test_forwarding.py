"""The same calls over gRPC, by the public stubs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from regrow.labeling.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    feedback_ledger_pb2,
    feedback_ledger_pb2_grpc,
    votes_pb2,
    votes_pb2_grpc,
)
from regrow.training.v1 import runs_pb2, runs_pb2_grpc
from services.common.errors import DeadlineExceeded, EngineUnavailable
from services.common.rpc.status import from_rpc_error
from services.gateway.calls import failure_of
from services.gateway.methods import public_methods


@pytest.fixture(scope="module")
def channel(gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as opened:
        yield opened


@pytest.fixture
def auth(admin) -> Any:
    return (("authorization", f"Bearer {admin}"), ("x-request-id", "from-a-test"))


def refused(code: grpc.StatusCode, call: Any, *arguments: Any, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as failed:
        answer = call(*arguments, **options)
        list(answer) if hasattr(answer, "__iter__") else answer
    assert failed.value.code() is code, failed.value
    return from_rpc_error(failed.value)


def test_a_unary_call_passes_through_with_its_request_id(channel, auth, world) -> None:
    stub = datasets_pb2_grpc.DatasetServiceStub(channel)
    answer, call = stub.GetDataset.with_call(datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/d"), metadata=auth)
    assert answer.name == "projects/shop/datasets/d"
    assert dict(call.trailing_metadata())["x-request-id"] == "from-a-test"
    assert world.recorder.request_ids[-1] == "from-a-test"


def test_a_call_without_a_key_or_into_another_project_is_refused(channel, auth, new_key) -> None:
    get = datasets_pb2_grpc.DatasetServiceStub(channel).GetDataset
    request = datasets_pb2.GetDatasetRequest(name="projects/bank/datasets/d")
    refused(grpc.StatusCode.UNAUTHENTICATED, get, request)
    refused(
        grpc.StatusCode.PERMISSION_DENIED, get, request, metadata=(("authorization", f"Bearer {new_key('editor', 'shop')}"),)
    )


def test_the_error_of_a_service_arrives_whole(channel, auth) -> None:
    get = datasets_pb2_grpc.DatasetServiceStub(channel).GetDataset
    request = datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/missing")
    error = refused(grpc.StatusCode.NOT_FOUND, get, request, metadata=auth)
    assert (error.reason, error.facts["kind"]) == ("NOT_FOUND", "dataset")
    assert "Import it first." in error.message


def test_an_unknown_failure_says_nothing_of_itself(channel, auth) -> None:
    get = datasets_pb2_grpc.DatasetServiceStub(channel).GetDataset
    error = refused(
        grpc.StatusCode.INTERNAL, get, datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/broken"), metadata=auth
    )
    assert "passwd" not in error.message


def test_the_rules_of_the_protos_hold_here_too(channel, auth) -> None:
    predict = gateway_pb2_grpc.PredictionServiceStub(channel).Predict
    error = refused(
        grpc.StatusCode.INVALID_ARGUMENT, predict, gateway_pb2.PredictRequest(name="projects/shop/models/m"), metadata=auth
    )
    assert error.problems[0].field == "rows"


def test_bytes_that_are_no_message_are_refused(channel, auth) -> None:
    raw = channel.unary_unary("/regrow.labeling.v1.DatasetService/GetDataset")
    refused(grpc.StatusCode.INVALID_ARGUMENT, raw, b"\xff\xff\xff\xff", metadata=auth)


def test_a_burst_waits_for_its_turn_and_none_of_it_is_dropped(gateway) -> None:
    free, sent = threading.Event(), 4000
    with grpc.insecure_channel(gateway.grpc) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        live(b"")
        gateway.hold(free)
        waiting = [live.future(b"", timeout=60) for _ in range(sent)]
        time.sleep(0.5)  # until they have arrived
        free.set()
        assert Counter(str(call.exception()) for call in waiting) == {"None": sent}


def test_an_upload_streams_through(channel, auth, world) -> None:
    def messages() -> Iterator[Any]:
        yield datasets_pb2.ImportDatasetRequest(parent="projects/shop", dataset_id="mail", content=b"head")
        for _ in range(10):
            yield datasets_pb2.ImportDatasetRequest(content=b"x" * 100_000)

    upload = datasets_pb2_grpc.DatasetServiceStub(channel).ImportDataset
    assert upload(messages(), metadata=auth).latest_version.size_bytes == 1_000_004
    partial = upload(messages(), metadata=(*auth, ("x-goog-fieldmask", "name")))
    assert (partial.name, partial.HasField("latest_version")) == ("projects/shop/datasets/mail", False)


def test_every_message_of_a_stream_stays_in_the_project(channel, new_key, world) -> None:
    metadata = (("authorization", f"Bearer {new_key('labeler', 'shop')}"),)
    write = votes_pb2_grpc.VoteServiceStub(channel).WriteVotes
    good = votes_pb2.WriteVotesRequest(parent="projects/shop/datasets/d")
    assert write(iter([good, votes_pb2.WriteVotesRequest()]), metadata=metadata).written == 0
    bad = votes_pb2.WriteVotesRequest(parent="projects/bank/datasets/d")
    refused(grpc.StatusCode.PERMISSION_DENIED, write, iter([good, bad]), metadata=metadata)
    refused(grpc.StatusCode.INVALID_ARGUMENT, write, iter([votes_pb2.WriteVotesRequest()]), metadata=metadata)
    before = len(world.recorder.requests)
    refused(grpc.StatusCode.UNAUTHENTICATED, write, iter([good]))
    assert len(world.recorder.requests) == before


def test_a_stream_of_events_passes_through_to_its_end_and_its_error(channel, auth) -> None:
    watch = runs_pb2_grpc.RunServiceStub(channel).WatchRun
    events = list(watch(runs_pb2.WatchRunRequest(name="projects/shop/runs/r", after_sequence=1), metadata=auth))
    assert [event.sequence for event in events] == [2, 3]
    refused(grpc.StatusCode.NOT_FOUND, watch, runs_pb2.WatchRunRequest(name="projects/shop/runs/fails"), metadata=auth)
    refused(grpc.StatusCode.INVALID_ARGUMENT, watch, runs_pb2.WatchRunRequest(name="", after_sequence=0), metadata=auth)


def test_a_caller_who_leaves_a_stream_ends_it_behind(channel, auth, world) -> None:
    world.recorder.cancelled, world.recorder.streaming = threading.Event(), threading.Event()
    events = runs_pb2_grpc.RunServiceStub(channel).WatchRun(
        runs_pb2.WatchRunRequest(name="projects/shop/runs/endless"), metadata=auth
    )
    next(events)
    assert world.recorder.streaming.wait(30)
    events.cancel()
    assert world.recorder.cancelled.wait(30)


def test_an_upload_that_is_cancelled_doesnt_arrive_as_a_whole_one(channel, auth, world) -> None:
    world.recorder.cancelled, world.recorder.importing = threading.Event(), threading.Event()

    def messages() -> Iterator[Any]:
        yield datasets_pb2.ImportDatasetRequest(parent="projects/shop", dataset_id="half", content=b"head")
        yield datasets_pb2.ImportDatasetRequest(content=b"x" * 100_000)
        threading.Event().wait(1)

    call = datasets_pb2_grpc.DatasetServiceStub(channel).ImportDataset.future(messages(), metadata=auth)
    assert world.recorder.importing.wait(30)
    call.cancel()
    assert world.recorder.cancelled.wait(30)


def test_the_callers_deadline_reaches_the_service(channel, auth, world) -> None:
    world.recorder.cancelled = threading.Event()
    get = datasets_pb2_grpc.DatasetServiceStub(channel).GetDataset
    with pytest.raises(grpc.RpcError):
        get(datasets_pb2.GetDatasetRequest(name="projects/shop/datasets/slow"), metadata=auth, timeout=1)
    assert world.recorder.cancelled.wait(30)


@pytest.mark.parametrize(("left", "told"), [(None, EngineUnavailable), (60.0, EngineUnavailable), (1.0, DeadlineExceeded)])
def test_a_deadline_of_the_callers_own_isnt_told_as_an_outage_of_the_service(left: float | None, told: type[Exception]) -> None:
    method = public_methods()["/regrow.labeling.v1.DatasetService/GetDataset"]
    failure = failure_of(EngineUnavailable("labeling", "it didn't answer in time"), method, left, waited=0.99)
    assert type(failure) is told and "labeling" in failure.message


def test_predictions_and_keys_are_answered_here(channel, auth, world) -> None:
    model = world.champion("over-grpc")
    row = Struct()
    row.update({"text": "free lunch win", "length": 3})
    answer = gateway_pb2_grpc.PredictionServiceStub(channel).Predict(
        gateway_pb2.PredictRequest(name=model, rows=[row]), metadata=auth
    )
    assert answer.predictions[0].class_names == ["spam"]
    assert (
        gateway_pb2_grpc.KeyServiceStub(channel).GetCaller(gateway_pb2.GetCallerRequest(), metadata=auth).name
        == "keys/first-admin"
    )


def test_a_call_between_services_isnt_reachable(channel, auth) -> None:
    cut = feedback_ledger_pb2_grpc.RegrowthServiceStub(channel).CutLabelSet
    with pytest.raises(grpc.RpcError) as failed:
        cut(feedback_ledger_pb2.CutLabelSetRequest(), metadata=auth)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_and_reflection_need_no_key(channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"regrow.gateway.v1.PredictionService", "inference.GRPCInferenceService"} <= names
    assert "regrow.labeling.v1.RegrowthService" not in names


def test_a_project_that_does_not_exist_is_told_before_anything_is_kept_under_it(call, error, world) -> None:
    for verb, path, options in (
        ("POST", "/v1/projects/shopp/datasets:import?dataset_id=d", {"content": b"a,b\n1,2\n"}),
        ("GET", "/v1/projects/shopp/datasets/mail", {}),
        ("POST", "/v1/projects/shopp/runs", {"json": {"labelSet": "projects/shopp/datasets/d/labelSets/l"}}),
    ):
        world.recorder.requests.clear()
        answer = call(verb, path, **options)
        assert (answer.status_code, error(answer)["message"]) == (
            404, "There is no project 'projects/shopp'. ListProjects shows those that exist.",
        )  # fmt: skip
        assert world.recorder.requests == []


def test_a_deleted_project_is_gone_at_once(call) -> None:
    assert call("POST", "/v1/projects?project_id=gone-soon", json={}).status_code == 200
    assert call("GET", "/v1/projects/gone-soon/datasets/mail").status_code == 200
    assert call("DELETE", "/v1/projects/gone-soon").status_code == 200
    assert call("GET", "/v1/projects/gone-soon/datasets/mail").status_code == 404
