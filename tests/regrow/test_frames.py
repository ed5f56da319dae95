"""pandas in and out: the index is kept, kinds are, and what is missing is missing."""

import io
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas
import pytest
from google.api.httpbody_pb2 import HttpBody

from regrow import Client
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, votes_pb2


@pytest.fixture
def client(gateway: Any) -> Iterator[Client]:
    with Client(gateway.address, "rg_secret", retry_for=5) as made:
        yield made


def predicted(request: Any) -> gateway_pb2.PredictResponse:
    answer = gateway_pb2.PredictResponse()
    for row in request.rows:
        number = row["n"]
        one = answer.predictions.add(prediction_id=f"p{number:.0f}", class_names=["yes"] if number else [])
        one.probabilities.add(class_name="yes", probability=0.75)
        one.probabilities.add(class_name="no", probability=0.25)
        if not number:
            one.warnings.add(field="n", problem="out of range")
    return answer


def test_a_frame_is_predicted_in_pieces_under_its_own_index(client: Client, gateway: Any) -> None:
    gateway.on("Predict", predicted)
    frame = pandas.DataFrame({"n": range(2500)}, index=[f"row-{i}" for i in range(2500)])
    answer = client.predict_frame("reviews", frame)
    assert [len(request.rows) for request in gateway.requests] == [1000, 1000, 500]
    assert list(answer.index) == list(frame.index)
    assert list(answer.columns) == ["prediction_id", "class_name", "class_names", "probability", "warnings", "p(no)", "p(yes)"]
    last = answer.loc["row-2499"]
    assert (last.prediction_id, last.class_name, last.class_names, last.probability) == ("p2499", "yes", ["yes"], 0.75)
    assert pandas.isna(answer.loc["row-0"].class_name)
    assert answer.loc["row-0"].warnings == ["n: out of range"]


def test_an_empty_frame_is_answered_by_an_empty_frame_and_no_call(client: Client, gateway: Any) -> None:
    assert len(client.predict_frame("reviews", pandas.DataFrame({"n": []}))) == 0
    assert gateway.requests == []


def test_answers_with_labels_go_back_as_feedback(client: Client, gateway: Any) -> None:
    gateway.on(
        "BatchSendFeedback", lambda request: gateway_pb2.BatchSendFeedbackResponse(event_ids=["e"] * len(request.feedback))
    )
    frame = pandas.DataFrame({"prediction_id": ["p1", "p2"], "class_names": ["yes", "no"], "source": [None, math.nan]})
    assert client.send_feedback("reviews", frame) == ["e", "e"]
    assert [(one.prediction_id, list(one.class_names), one.source) for one in gateway.requests[0].feedback] == [
        ("p1", ["yes"], ""), ("p2", ["no"], ""),
    ]  # fmt: skip


def test_a_data_set_comes_back_as_a_frame(client: Client, gateway: Any) -> None:
    kept = pandas.DataFrame({"text": ["a", None], "n": [1.5, 2.5], "when": [datetime(2026, 1, 2, tzinfo=UTC)] * 2})

    def export(request: Any) -> Iterator[HttpBody]:
        assert request.format == datasets_pb2.FILE_FORMAT_PARQUET
        assert request.name == "projects/default/datasets/reviews/versions/2"
        buffer = io.BytesIO()
        kept.to_parquet(buffer)
        for start in range(0, len(buffer.getvalue()), 100):
            yield HttpBody(data=buffer.getvalue()[start : start + 100])

    gateway.on("ExportDataset", export)
    pandas.testing.assert_frame_equal(client.export_frame("reviews", version="2"), kept)


def test_any_list_becomes_a_frame(client: Client, gateway: Any) -> None:
    vote = votes_pb2.Vote(labeler="projects/default/labelers/anna", class_names=["yes"], drawn=votes_pb2.DRAWN_RANDOM)
    vote.create_time.FromDatetime(datetime(2026, 3, 1, 12))
    placed = votes_pb2.Vote(row=0)
    placed.CopyFrom(vote)
    placed.row = 0
    pages = {
        "": votes_pb2.ListVotesResponse(votes=[vote], next_page_token="2"),
        "2": votes_pb2.ListVotesResponse(votes=[placed]),
    }
    gateway.on("ListVotes", lambda request: pages[request.page_token])
    frame = client.frame(client.votes.ListVotes, votes_pb2.ListVotesRequest(parent="projects/default/datasets/d"))
    assert list(frame["class_names"]) == [["yes"], ["yes"]]
    assert list(frame["drawn"]) == ["random", "random"]
    assert pandas.isna(frame["row"][0])
    assert frame["row"][1] == 0
    assert frame["create_time"][0] == pandas.Timestamp("2026-03-01T12:00Z")
    assert pandas.isna(frame["retract_time"][0])


def test_fields_of_nested_messages_are_columns_and_an_empty_list_has_them_too(client: Client, gateway: Any) -> None:
    dataset = datasets_pb2.Dataset(name="projects/default/datasets/d")
    dataset.latest_version.row_count = 7
    gateway.on("ListDatasets", lambda _: datasets_pb2.ListDatasetsResponse(datasets=[dataset]))
    request = datasets_pb2.ListDatasetsRequest(parent="projects/default")
    full = client.frame(client.datasets.ListDatasets, request)
    assert full["latest_version.row_count"][0] == 7
    gateway.on("ListDatasets", lambda _: datasets_pb2.ListDatasetsResponse())
    assert set(client.frame(client.datasets.ListDatasets, request).columns) == set(full.columns)


def test_the_result_of_a_batch_prediction_comes_back_as_a_frame(client: Client, gateway: Any) -> None:
    kept = pandas.DataFrame({"row": [0, 7], "predicted": ["yes", None], "probability_yes": [0.75, 0.5]})
    file = io.BytesIO()
    kept.to_parquet(file)
    gateway.on(
        "DownloadBatchPrediction", lambda _: iter([HttpBody(data=file.getvalue()[:50]), HttpBody(data=file.getvalue()[50:])])
    )
    frame = client.batch_prediction_frame("b1")
    assert gateway.requests[0].name == "projects/default/batchPredictions/b1"
    pandas.testing.assert_frame_equal(frame, kept.set_index("row"))
