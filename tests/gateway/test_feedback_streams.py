"""Feedback as a stream: messages over gRPC, CSV and JSON lines over REST, each part answered when it is committed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest
from gateway_world import RunningGateway

from regrow.events.v1 import events_pb2
from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from services.common.errors import EngineUnavailable
from services.common.events import FEEDBACK, events_from
from services.common.rpc.status import from_rpc_error
from services.common.spec import Task

Piece = gateway_pb2.Feedback
Request = gateway_pb2.StreamFeedbackRequest
CSV = {"content-type": "text/csv"}
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def model(world) -> str:
    return world.champion("streamed")


@pytest.fixture
def committed(world) -> Any:
    """Every feedback event that was committed since the test began, by id."""
    log = events_from(world.settings())
    with closing(log.consumer([FEEDBACK], start="latest")) as consumer:
        consumer.poll(timeout=timedelta(0))

        def read() -> dict[str, events_pb2.Feedback]:
            found: dict[str, events_pb2.Feedback] = {}
            while records := consumer.poll(timeout=timedelta(milliseconds=10)):
                events = [events_pb2.Feedback.FromString(record.value) for record in records]
                found |= {event.event_id: event for event in events}
            return found

        yield read
    log.close()


@pytest.fixture
def stream(gateway, admin) -> Iterator[Any]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = gateway_pb2_grpc.FeedbackServiceStub(channel)
        yield lambda messages: stub.StreamFeedback(messages, metadata=(("authorization", f"Bearer {admin}"),), timeout=60)


def piece(event_id: str, class_name: str = "ham") -> Piece:
    return Piece(event_id=event_id, prediction_id=f"p-{event_id}", class_names=[class_name])


def test_each_part_of_a_stream_is_answered_when_it_is_committed(stream, model, committed) -> None:
    go_on = threading.Event()

    def messages() -> Iterator[Request]:
        yield Request(parent=model, feedback=[piece("s1"), piece("s2")])
        assert go_on.wait(30)
        yield Request(feedback=[piece("s3")])

    answers = stream(messages())
    first = next(answers)
    assert (first.received_count, first.committed_count) == (2, 2)
    assert set(committed()) == {"s1", "s2"}
    go_on.set()
    assert [answer.committed_count for answer in answers] == [3]


def test_a_wrong_piece_of_a_stream_is_told_and_the_others_are_committed(stream, model, committed) -> None:
    sent = [piece("w1"), piece("w2", "eggs"), Piece(event_id="x" * 201, class_names=["ham"]), piece("w3")]
    *_, last = stream(iter([Request(parent=model, feedback=sent[:2]), Request(feedback=sent[2:])]))
    assert (last.received_count, last.committed_count, last.refused_count) == (4, 2, 2)
    assert set(committed()) == {"w1", "w3"}
    answers = list(stream(iter([Request(parent=model, feedback=sent)])))
    told = [(one.index, one.event_id[:5], one.field) for answer in answers for one in answer.refused]
    assert told == [(1, "w2", "class_names[0]"), (2, "xxxxx", "event_id"), (2, "xxxxx", "prediction_id")]


def test_an_atomic_stream_is_committed_whole_or_not_at_all(stream, model, committed) -> None:
    def sent(*classes: str) -> Iterator[Request]:
        first = Request(parent=model, atomic=True, request_id="whole")
        return iter([first, *(Request(feedback=[Piece(prediction_id="p", class_names=[name])]) for name in classes)])

    with pytest.raises(grpc.RpcError) as failed:
        list(stream(sent("ham", "eggs", "spam")))
    assert [one.field for one in from_rpc_error(failed.value).problems] == ["feedback[1].class_names[0]"]
    assert committed() == {}
    (answer,) = stream(sent("ham", "spam"))
    assert (answer.received_count, answer.committed_count) == (2, 2)
    assert set(committed()) == {"whole-0", "whole-1"}


def test_a_stream_is_about_one_model_and_names_it(stream, model) -> None:
    for messages in (
        [],
        [Request(feedback=[piece("n")])],
        [Request(parent=model), Request(parent="projects/shop/models/other")],
    ):
        with pytest.raises(grpc.RpcError) as failed:
            list(stream(iter(messages)))
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT, messages
    with pytest.raises(grpc.RpcError) as failed:
        list(stream(iter([Request(parent="projects/shop/models/nobody", feedback=[piece("n")])])))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_long_stream_of_small_parts_comes_whole_and_in_order(stream, model, committed) -> None:
    answers = list(stream(Request(parent=model, feedback=[piece(f"l{number}")]) for number in range(3000)))
    counts = [answer.committed_count for answer in answers]
    assert counts == sorted(counts) and counts[-1] == 3000
    assert set(committed()) == {f"l{number}" for number in range(3000)}


def test_csv_is_committed_but_for_the_lines_that_are_wrong(call, model, committed) -> None:
    content = (
        "\ufeffevent_id,prediction_id,class,observe_time,text,length\r\n"
        "c1,p1,ham,2026-01-02T03:04:05Z,,\r\n"
        'c2,,spam,,"free\nlunch, ""now""",12\r\n'
        "c3,p3,eggs,,,\r\n"
        "c4,p4,ham,yesterday,,\r\n"
        "c5,p5\r\n"
        "\r\n"
        "c6,,ham,,meeting,long\r\n"
        "c7,p7,1,,,"
    )
    answer = call("POST", f"/v1/{model}/feedback:stream?request_id=file", content=content.encode(), headers=CSV)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["receivedCount"], found["committedCount"], found["refusedCount"]) == ("7", "3", "4")
    told = [(one["line"], one["eventId"], one["field"]) for one in found["refused"]]
    assert told == [
        ("5", "c3", "class_names[0]"), ("6", "", "observe_time"), ("7", "", ""), ("9", "c6", "features.length"),
    ]  # fmt: skip
    events = committed()
    assert set(events) == {"c1", "c2", "c7"}
    assert events["c1"].observe_time.ToJsonString() == "2026-01-02T03:04:05Z"
    assert dict(events["c2"].features) == {"text": 'free\nlunch, "now"', "length": "12"}


def test_a_file_of_any_size_is_read_as_it_comes_and_sent_again_has_the_same_ids(call, model, committed) -> None:
    def content() -> Iterator[bytes]:
        yield b"prediction_id;class\n"
        for number in range(6_000):
            yield b"q%d;ham\n" % number

    for _ in range(2):
        answer = call("POST", f"/v1/{model}/feedback:stream?request_id=again", content=content(), headers=CSV)
        assert answer.json()["committedCount"] == "6000"
    assert len(committed()) == 6_000


def test_json_lines_are_answered_line_by_line_where_asked(call, model, committed) -> None:
    lines = [
        {"eventId": "j1", "predictionId": "p", "classNames": ["ham"]},
        {"event_id": "j2", "features": {"text": "free", "length": 1.5}, "class_names": ["spam"]},
        {"eventId": "j3", "predictionId": "p", "classNames": ["ham"], "bogus": 1},
    ]
    content = "\n".join([*map(json.dumps, lines), "{", "[]", '{"eventId": "j4", "predictionId": "p", "classNames": ["ham"]}'])
    answer = call("POST", f"/v1/{model}/feedback:stream", content=content, headers={**LINES, "accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert answers[-1]["committedCount"] == "3"
    assert [one["line"] for found in answers for one in found["refused"]] == ["3", "4", "5"]
    assert set(committed()) == {"j1", "j2", "j4"}


def test_a_json_line_that_is_too_long_is_refused_alone_and_the_next_is_read_on(call, model, committed) -> None:
    def line(event_id: str, text: str) -> bytes:
        piece = {"eventId": event_id, "features": {"text": text, "length": 1}, "classNames": ["ham"]}
        return json.dumps(piece).encode() + b"\n"

    content = [line("a", "x"), line("b", "y" * (1 << 20)), line("c", "x"), line("d", "z" * (5 << 20)), line("e", "x")]
    whole = b"".join(content)
    for request_id, parts in (
        ("at-once", [whole]),
        ("in-parts", [whole[at : at + 9_000] for at in range(0, len(whole), 9_000)]),
    ):
        answer = call("POST", f"/v1/{model}/feedback:stream?request_id={request_id}", content=iter(parts), headers=LINES)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["committedCount"], [one["line"] for one in found["refused"]]) == ("3", ["2", "4"])
        assert {one["problem"] for one in found["refused"]} == {"is longer than 1 MiB, the most that one piece may have."}
    assert set(committed()) == {"a", "c", "e"}
    last = call("POST", f"/v1/{model}/feedback:stream", content=b"x" * (3 << 20), headers=LINES).json()
    assert (last["committedCount"], last["refusedCount"]) == ("0", "1")


def test_json_is_one_part_of_a_stream(call, model, committed) -> None:
    body = {"feedback": [{"eventId": "o1", "predictionId": "p", "classNames": ["ham"]}]}
    assert call("POST", f"/v1/{model}/feedback:stream", json=body).json()["committedCount"] == "1"
    assert set(committed()) == {"o1"}


def test_an_atomic_file_names_its_wrong_lines(call, error, model, committed) -> None:
    content = "prediction_id,class\np,ham\np,eggs\n,ham\n"
    answer = call("POST", f"/v1/{model}/feedback:stream?atomic=true", content=content, headers=CSV)
    assert set(error(answer)["fields"]) == {"line 3.class_names[0]", "line 4.prediction_id"}
    assert committed() == {}


def test_a_multi_label_files_cell_names_several_classes(call, world, committed) -> None:
    model = world.champion("streamed-tags", classes=("a", "b", "c"), task=Task.MULTI_LABEL)
    content = "event_id\tprediction_id\tclass\nm1\tp\ta|c\nm2\tp\t\n"
    assert call("POST", f"/v1/{model}/feedback:stream", content=content, headers=CSV).json()["committedCount"] == "2"
    assert {name: list(event.class_names) for name, event in committed().items()} == {"m1": ["a", "c"], "m2": []}


@pytest.mark.parametrize(
    ("headers", "content", "field"),
    [
        (CSV, b"", "line 1"),
        (CSV, b"prediction_id,label\np,ham\n", "line 1"),
        (CSV, b"class,class\n", "line 1"),
        (CSV, b'class,prediction_id\n"' + b"x" * (3 << 20), "line 2"),
        ({"content-type": "application/xml"}, b"<a/>", "content-type"),
        ({**CSV, "content-encoding": "gzip"}, b"", "content-encoding"),
        ({"content-type": "application/json"}, b"[]", "body"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(call, error, model, headers, content, field) -> None:
    answer = call("POST", f"/v1/{model}/feedback:stream", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert field in error(answer)["fields"]


def test_text_that_is_not_utf_8_is_a_wrong_line(call, model, committed) -> None:
    content = b"event_id,prediction_id,class\nu1,p,ham\nu\xff2,p,ham\nu\x003,p,ham\nu4,p,ham\n"
    found = call("POST", f"/v1/{model}/feedback:stream", content=content, headers=CSV).json()
    assert [one["line"] for one in found["refused"]] == ["3", "4"]
    assert set(committed()) == {"u1", "u4"}


def test_what_a_third_party_writes_to_the_log_has_a_name_that_nobody_else_can_use(call, error, model) -> None:
    body = {"predictionId": "p", "classNames": ["ham"], "source": " log:/crm"}
    answer = call("POST", f"/v1/{model}/feedback", json=body)
    assert "log:" in error(answer)["fields"]["feedback.source"]


def _stalled(gateway, monkeypatch) -> threading.Event:
    """The gateway's log takes nothing until the event is set, and a tenth as much as usual waits for it."""
    monkeypatch.setattr(gateway.gateway._feedback._appender, "_most_events", 2_000)
    free, append = threading.Event(), gateway.gateway._events.append

    def slow(topic: str, events: Any) -> Any:
        if topic == FEEDBACK and not free.wait(20):
            raise EngineUnavailable("events", "it stalls")
        return append(topic, events)

    monkeypatch.setattr(gateway.gateway._events, "append", slow)
    return free


def test_beyond_its_bound_feedback_is_refused_as_too_much_with_a_time_and_the_rest_is_committed(
    call, gateway, error, model, committed, monkeypatch
) -> None:
    free = _stalled(gateway, monkeypatch)
    answers: list[httpx.Response] = []

    def send(number: int) -> None:
        batch = [{"eventId": f"f{number}-{one}", "predictionId": "p", "classNames": ["ham"]} for one in range(900)]
        answers.append(call("POST", f"/v1/{model}/feedback:batch", json={"feedback": batch}))

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 30
    while not any(answer.status_code == 429 for answer in answers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    free.set()
    for sender in senders:
        sender.join()
    busy = [answer for answer in answers if answer.status_code == 429]
    assert error(busy[0])["reason"] == "BUSY" and busy[0].headers["retry-after"] == "1"
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert len(committed()) == 900 * (4 - len(busy))


def test_a_stream_that_is_faster_than_the_log_waits_and_loses_nothing(stream, gateway, model, committed, monkeypatch) -> None:
    free = _stalled(gateway, monkeypatch)
    threading.Timer(0.5, free.set).start()
    parts = [[piece(f"k{part}-{one}") for one in range(500)] for part in range(6)]
    *_, last = stream(Request(parent=model, feedback=part) for part in parts)
    assert last.committed_count == 3_000
    assert len(committed()) == 3_000


def test_a_stream_hears_of_a_log_that_died_after_what_was_committed_before(
    stream, gateway, model, committed, monkeypatch
) -> None:
    append, down = gateway.gateway._events.append, threading.Event()
    monkeypatch.setattr(gateway.gateway._feedback._appender, "_patience", 0.3)

    def failing(topic: str, events: Any) -> Any:
        if topic == FEEDBACK and down.is_set():
            raise EngineUnavailable("events", "it is down")
        return append(topic, events)

    monkeypatch.setattr(gateway.gateway._events, "append", failing)

    def messages() -> Iterator[Request]:
        yield Request(parent=model, feedback=[piece("d1")])
        assert answered.wait(30)
        down.set()
        yield Request(feedback=[piece("d2")])

    answered = threading.Event()
    answers = stream(messages())
    assert next(answers).committed_count == 1
    answered.set()
    with pytest.raises(grpc.RpcError) as failed:
        list(answers)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(failed.value).retry_after
    assert set(committed()) == {"d1"}


def test_a_gateway_that_stops_answers_what_a_stream_committed_and_ends_it(world, admin, model) -> None:
    running = RunningGateway(world.settings())
    answered = threading.Event()

    def messages() -> Iterator[Request]:
        yield Request(parent=model, feedback=[piece("z1")])
        answered.wait(30)

    with grpc.insecure_channel(running.grpc) as channel:
        stub = gateway_pb2_grpc.FeedbackServiceStub(channel)
        answers = stub.StreamFeedback(messages(), metadata=(("authorization", f"Bearer {admin}"),), timeout=60)
        assert next(answers).committed_count == 1
        began = time.monotonic()
        running.stop()
        with pytest.raises(grpc.RpcError) as failed:
            list(answers)
        answered.set()
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "stopping" in failed.value.details()
    assert time.monotonic() - began < 4
