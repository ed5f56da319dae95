"""The client against a real gRPC server whose answers are written here."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pandas
import pytest
from google.api import annotations_pb2
from google.longrunning import operations_pb2 as longrunning_pb2

import regrow
from regrow import CallError, Client
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, label_sets_pb2, votes_pb2
from regrow.paging import iterate, pages
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import policies_pb2, runs_pb2
from regrow.types.v1 import problem_spec_pb2, schema_pb2


@pytest.fixture
def client(gateway: Any) -> Iterator[Client]:
    with Client(gateway.address, "rg_secret", retry_for=5) as made:
        yield made


def failing(times: int, refusal: Exception, answer: Any) -> Callable[[Any], Any]:
    left = [times]

    def call(_: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise refusal
        return answer

    return call


def public_services() -> Iterator[Any]:
    root = Path(regrow.__file__).parent
    for path in sorted(root.glob("*/v1/*_pb2.py")):
        module = importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))
        for service in module.DESCRIPTOR.services_by_name.values():
            public = [m for m in service.methods if m.GetOptions().HasExtension(annotations_pb2.http)]
            if public:
                yield service, public
    standard = longrunning_pb2.DESCRIPTOR.services_by_name["Operations"]
    yield standard, list(standard.methods)


def test_every_public_rpc_and_nothing_else_is_a_typed_call_of_the_client() -> None:
    client = Client("127.0.0.1:1", "key")
    services = {type(one).__name__: vars(one) for one in vars(client).values() if type(one).__module__ == "regrow.services"}
    found = list(public_services())
    assert len(found) >= 19
    for service, methods in found:
        calls = services.pop(service.name)
        assert {name: call.path for name, call in calls.items()} == {m.name: f"/{service.full_name}/{m.name}" for m in methods}
        for method in methods:
            call = calls[method.name]
            assert (method.input_type, method.output_type) == (call.request.DESCRIPTOR, call.response.DESCRIPTOR)
            kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
            assert call.kind == kind
            assert hasattr(call, "each") is ("next_page_token" in method.output_type.fields_by_name)
    assert services == {}


def test_a_call_carries_the_key_and_a_deadline(client: Client, gateway: Any) -> None:
    gateway.on("GetCaller", lambda _: gateway_pb2.Key(name="keys/mine"))
    gateway.on("CreateLabelSet", lambda _: label_sets_pb2.LabelSet())
    assert client.keys.GetCaller(gateway_pb2.GetCallerRequest()).name == "keys/mine"
    client.create_label_set("reviews", problem_spec="reviews")
    client.keys.GetCaller(gateway_pb2.GetCallerRequest(), timeout=5)
    assert [one["authorization"] for one in gateway.metadata] == ["Bearer rg_secret"] * 3
    quick, slow, given = gateway.seconds
    assert 50 < quick < 61
    assert 500 < slow < 601
    assert given < 6


def test_a_refusal_becomes_one_exception_that_says_it_all(client: Client, gateway: Any, refusal: Any) -> None:
    gateway.on(
        "Predict",
        failing(
            1,
            refusal(
                grpc.StatusCode.INVALID_ARGUMENT, "rows[0].age: bad", reason="INVALID_FIELD", fields={"rows[0].age": "bad"}
            ),
            None,
        ),
    )
    with pytest.raises(CallError) as caught:
        client.predict("reviews", [{"age": "old"}])
    error = caught.value
    assert (error.code, error.reason, str(error)) == ("INVALID_ARGUMENT", "INVALID_FIELD", "rows[0].age: bad")
    assert error.fields == {"rows[0].age": "bad"}
    assert error.facts == {"kind": "test"}
    assert error.retry_after is None


def test_no_server_is_told_with_what_to_do() -> None:
    with Client("127.0.0.1:1", "key", retry_for=0) as client, pytest.raises(CallError, match="regrow up") as caught:
        client.served("reviews")
    assert caught.value.code == "UNAVAILABLE"


def test_a_create_is_repeated_under_the_same_request_id(client: Client, gateway: Any, refusal: Any) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "Labeling is away.", reason="UNAVAILABLE", retry=0.01)
    gateway.on("CreateProblemSpec", failing(2, away, problem_spec_pb2.ProblemSpec(name="projects/default/problemSpecs/a")))
    assert client.create_spec("a", dataset="reviews", target="x").name == "projects/default/problemSpecs/a"
    ids = [request.request_id for request in gateway.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]


def test_a_request_id_that_the_caller_chose_is_kept(client: Client, gateway: Any) -> None:
    gateway.on("TriggerRegrowth", lambda _: policies_pb2.Regrowth())
    request = policies_pb2.TriggerRegrowthRequest(name="projects/default/policies/a", request_id="mine")
    client.policies.TriggerRegrowth(request)
    assert gateway.requests[0].request_id == "mine"


def test_the_callers_request_is_never_changed(client: Client, gateway: Any) -> None:
    gateway.on("TriggerRegrowth", lambda _: policies_pb2.Regrowth())
    request = policies_pb2.TriggerRegrowthRequest(name="projects/default/policies/a")
    client.policies.TriggerRegrowth(request)
    assert request.request_id == ""


def test_feedback_is_repeated_under_the_same_event_ids(client: Client, gateway: Any, refusal: Any) -> None:
    away = refusal(grpc.StatusCode.UNAVAILABLE, "The log is away.", retry=0.01)
    gateway.on("BatchSendFeedback", failing(1, away, gateway_pb2.BatchSendFeedbackResponse(event_ids=["a", "b"])))
    sent = [
        {"prediction_id": "p", "class_names": "spam"},
        {"features": {"text": "x"}, "class_names": ["ham"], "event_id": "own"},
    ]
    assert client.send_feedback("reviews", sent) == ["a", "b"]
    first, second = ([one.event_id for one in request.feedback] for request in gateway.requests)
    assert first == second
    assert first[0]
    assert first[1] == "own"
    assert gateway.requests[0].feedback[1].features["text"] == "x"


def test_feedback_that_the_client_gives_up_has_the_id_to_send_it_again_with(gateway: Any, refusal: Any) -> None:
    def away(_: Any) -> Any:
        raise refusal(grpc.StatusCode.UNAVAILABLE, "The log is away.", retry=0.01)

    for method in ("SendFeedback", "BatchSendFeedback", "StreamFeedback"):
        gateway.on(method, away)
    one: dict[str, Any] = {"prediction_id": "p", "class_names": "spam"}
    with regrow.Client(gateway.address, key="k", retry_for=0) as client:
        for call in (lambda: client.send_feedback("m", [one]), lambda: client.send_feedback("m", [one, one]),
                     lambda: client.stream_feedback("m", [one, one])):  # fmt: skip
            with pytest.raises(CallError) as given_up:
                call()
            known = given_up.value.facts.get("event_id") or given_up.value.facts["request_id"]
            sent = gateway.requests[-1]
            pieces = [piece for request in sent for piece in request.feedback] if isinstance(sent, list) else sent.feedback
            ids = [piece.event_id for piece in ([pieces] if isinstance(pieces, gateway_pb2.Feedback) else pieces)]
            assert ids in ([known], [f"{known}-0", f"{known}-1"])
        with pytest.raises(CallError):
            client.send_feedback("m", [one, one], request_id="mine")
    assert [piece.event_id for piece in gateway.requests[-1].feedback] == ["mine-0", "mine-1"]


def test_moving_an_alias_is_never_repeated(client: Client, gateway: Any, refusal: Any) -> None:
    gateway.on("GetAlias", failing(1, refusal(grpc.StatusCode.NOT_FOUND, "There is none."), None))
    gateway.on(
        "SetAlias", failing(1, refusal(grpc.StatusCode.UNAVAILABLE, "The registry is away.", retry=0.01), registry_pb2.Alias())
    )
    with pytest.raises(CallError, match="The registry is away"):
        client.promote("reviews/3")
    assert [type(request).__name__ for request in gateway.requests] == ["GetAliasRequest", "SetAliasRequest"]


def test_promotion_sends_the_etag_that_it_read(client: Client, gateway: Any) -> None:
    gateway.on("GetAlias", lambda _: registry_pb2.Alias(etag="seen"))
    gateway.on("SetAlias", lambda request: registry_pb2.Alias(name=request.name, version=request.version))
    moved = client.promote("reviews/3", alias="beta", why="better")
    assert moved.name == "projects/default/models/reviews/aliases/beta"
    assert moved.version == "projects/default/models/reviews/versions/3"
    assert (gateway.requests[1].etag, gateway.requests[1].why) == ("seen", "better")


def test_a_call_without_retries_fails_at_once(gateway: Any, refusal: Any) -> None:
    gateway.on(
        "Predict", failing(1, refusal(grpc.StatusCode.UNAVAILABLE, "Loading.", retry=0.01), gateway_pb2.PredictResponse())
    )
    with Client(gateway.address, "key", retry_for=0) as client, pytest.raises(CallError, match="Loading"):
        client.predict("reviews", [{"a": 1}])
    assert len(gateway.requests) == 1


def test_a_retry_time_beyond_the_patience_is_not_waited_for(gateway: Any, refusal: Any) -> None:
    gateway.on("Predict", failing(1, refusal(grpc.StatusCode.UNAVAILABLE, "Away.", retry=60), gateway_pb2.PredictResponse()))
    with Client(gateway.address, "key", retry_for=2) as client, pytest.raises(CallError) as caught:
        client.predict("reviews", [{"a": 1}])
    assert caught.value.retry_after == 60


def test_watching_goes_on_where_the_connection_broke(client: Client, gateway: Any, refusal: Any) -> None:
    broken = []

    def watch(request: Any) -> Iterator[Any]:
        for sequence in range(request.after_sequence + 1, 5):
            yield runs_pb2.RunEvent(sequence=sequence, message=str(sequence))
            if sequence == 2 and not broken:
                broken.append(True)
                raise refusal(grpc.StatusCode.UNAVAILABLE, "Training is away.", retry=0.01)

    gateway.on("WatchRun", watch)
    gateway.on("GetRun", lambda request: runs_pb2.Run(name=request.name, state=runs_pb2.RUN_STATE_SUCCEEDED))
    assert [event.message for event in client.watch_run("r-1")] == ["1", "2", "3", "4"]
    assert [request.after_sequence for request in gateway.requests] == [0, 2]
    assert client.wait_for_run("r-1").state == runs_pb2.RUN_STATE_SUCCEEDED


def test_watching_an_unknown_run_fails(client: Client, gateway: Any, refusal: Any) -> None:
    gateway.on("WatchRun", failing(1, refusal(grpc.StatusCode.NOT_FOUND, "There is no run."), []))
    with pytest.raises(CallError, match="There is no run"):
        list(client.watch_run("nope"))


def test_a_broken_upload_starts_again_from_the_first_byte(client: Client, gateway: Any, refusal: Any, tmp_path: Path) -> None:
    content = b"text,label\n" + b"lovely,1\n" * 300_000
    (tmp_path / "reviews.csv").write_bytes(content)
    away = refusal(grpc.StatusCode.UNAVAILABLE, "Labeling is away.", retry=0.01)
    gateway.on("ImportDataset", failing(1, away, datasets_pb2.Dataset(name="projects/default/datasets/reviews")))
    told: list[int] = []
    client.import_file(
        tmp_path / "reviews.csv", dataset_id="reviews", kinds={"text": "text"}, sent=told.append,
        holdout=datasets_pb2.Holdout(split_column="split"),
    )  # fmt: skip
    for messages in gateway.requests:
        assert b"".join(message.content for message in messages) == content
        assert messages[0].file_name == "reviews.csv"
        assert messages[0].holdout.split_column == "split"
        assert messages[0].column_overrides[0].kind == schema_pb2.COLUMN_KIND_TEXT
    assert gateway.requests[0][0].request_id == gateway.requests[1][0].request_id != ""
    assert told[-1] == len(content)


def test_a_data_frame_is_uploaded_with_its_kinds(client: Client, gateway: Any) -> None:
    gateway.on("ImportDataset", lambda _: datasets_pb2.Dataset())
    client.import_file(pandas.DataFrame({"text": ["a", "b"], "n": [1.5, None]}), dataset_id="frame")
    (messages,) = gateway.requests
    assert messages[0].file_name == "frame.parquet"
    assert messages[1].content[:4] == b"PAR1"


def test_an_unknown_kind_is_refused_before_anything_is_sent(client: Client, gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"'txt' is none of: text, .*Did you mean 'text'"):
        client.import_file(tmp_path / "a.csv", dataset_id="a", kinds={"a": "txt"})
    assert gateway.requests == []


def test_predict_takes_rows_and_frames_and_names_of_versions(client: Client, gateway: Any) -> None:
    gateway.on("Predict", lambda _: gateway_pb2.PredictResponse())
    client.predict("reviews", [{"text": "x", "age": 3, "seen": True, "empty": None}])
    client.predict("reviews/2", pandas.DataFrame({"age": [3, 4], "score": [float("nan"), 1.5]}))
    client.predict("reviews@beta", [{}])
    first, second, third = gateway.requests
    assert dict(first.rows[0].items()) == {"text": "x", "age": 3, "seen": True, "empty": None}
    assert [dict(row.items()) for row in second.rows] == [{"age": 3, "score": None}, {"age": 4, "score": 1.5}]
    assert second.name == "projects/default/models/reviews/versions/2"
    assert third.name == "projects/default/models/reviews/aliases/beta"


def test_a_single_row_without_a_list_is_a_clear_mistake(client: Client) -> None:
    with pytest.raises(TypeError, match="put a single row in a list"):
        client.predict("reviews", {"text": "x"})


def test_votes_get_ids_and_go_in_pieces(client: Client, gateway: Any, refusal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regrow.client._VOTES_A_MESSAGE", 2)
    away = refusal(grpc.StatusCode.UNAVAILABLE, "Labeling is away.", retry=0.01)
    gateway.on("WriteVotes", failing(1, away, votes_pb2.WriteVotesResponse(written=3)))
    assert client.write_votes("reviews", (votes_pb2.Vote(row=row, class_names=["a"]) for row in range(3))).written == 3
    first, second = ([vote.vote_id for message in messages for vote in message.votes] for messages in gateway.requests)
    assert first == second
    assert len(set(first)) == 3
    assert [len(message.votes) for message in gateway.requests[0]] == [2, 1]


def test_lists_are_walked_page_by_page_and_no_further_than_asked(client: Client, gateway: Any) -> None:
    def listed(request: Any) -> Any:
        number = int(request.page_token or 1)
        datasets = [datasets_pb2.Dataset(name=f"{number}-{i}") for i in range(2)]
        return datasets_pb2.ListDatasetsResponse(datasets=datasets, next_page_token=str(number + 1) if number < 3 else "")

    gateway.on("ListDatasets", listed)
    request = datasets_pb2.ListDatasetsRequest(parent="projects/default", page_size=2)
    assert [one.name for one in iterate(client.datasets.ListDatasets, request)] == ["1-0", "1-1", "2-0", "2-1", "3-0", "3-1"]
    assert request.page_token == ""
    gateway.requests.clear()
    assert next(iterate(client.datasets.ListDatasets, request)).name == "1-0"
    assert len(gateway.requests) == 1
    assert len(list(pages(client.datasets.ListDatasets, request))) == 3


def test_every_list_response_has_one_kind_of_entry() -> None:
    for service, methods in public_services():
        for method in methods:
            if "next_page_token" in method.output_type.fields_by_name:
                entries = [f.name for f in method.output_type.fields if f.is_repeated and f.message_type is not None]
                assert len(entries) == 1, f"{service.name}.{method.name}"


def test_a_stream_of_feedback_that_breaks_goes_on_where_it_was_answered(client: Client, gateway: Any, refusal: Any) -> None:
    def answer(requests: list[Any]) -> Any:
        sent = sum(len(request.feedback) for request in requests)
        if len(gateway.requests) == 1:
            yield gateway_pb2.StreamFeedbackResponse(received_count=500, committed_count=500)
            raise refusal(grpc.StatusCode.UNAVAILABLE, "It is down.", retry=0.05)
        problem = gateway_pb2.RefusedFeedback(index=1, field="class_names", problem="no")
        yield gateway_pb2.StreamFeedbackResponse(
            received_count=sent, committed_count=sent - 1, refused_count=1, refused=[problem]
        )

    gateway.on("StreamFeedback", answer)
    heard: list[int] = []
    sent = ({"prediction_id": f"p{number}", "class_names": "yes"} for number in range(1200))
    found = client.stream_feedback("reviews", sent, answered=lambda sums: heard.append(sums.committed_count))
    assert (found.received_count, found.committed_count, found.refused_count) == (1200, 1199, 1)
    assert (found.refused[0].index, heard) == (501, [500, 1199])
    first, second = ([one for request in requests for one in request.feedback] for requests in gateway.requests)
    assert [one.event_id for one in first[500:]] == [one.event_id for one in second]
    assert len({one.event_id for one in first}) == 1200


def test_a_stream_of_feedback_raises_what_its_source_raises(client: Client, gateway: Any) -> None:
    gateway.on("StreamFeedback", lambda _: [gateway_pb2.StreamFeedbackResponse()])

    def broken() -> Any:
        yield {"prediction_id": "p", "class_names": "yes"}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        client.stream_feedback("reviews", broken())
