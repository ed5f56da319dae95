"""Feedback through the door: checked against the champion, and committed before the answer."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from regrow.events.v1 import events_pb2
from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from services.common.errors import EngineUnavailable, OutcomeUnknown, RegrowError, TooLarge
from services.common.events import FEEDBACK, Event, SqliteLog, events_from, read_envelope
from services.common.rpc.status import from_rpc_error
from services.common.spec import Task
from services.gateway.appending import Appender

ROW = {"text": "free lunch", "length": 10}


def committed(world, model: str) -> dict[str, events_pb2.Feedback]:
    """Every feedback event of the model that the log has now."""
    log = events_from(world.settings())
    consumer = log.consumer([FEEDBACK])
    found: dict[str, events_pb2.Feedback] = {}
    while records := consumer.poll(timeout=timedelta(milliseconds=10)):
        for record in records:
            if record.key == model:
                payload = events_pb2.Feedback.FromString(record.value)
                assert read_envelope(record.headers).id == payload.event_id
                found[payload.event_id] = payload
    consumer.close()
    log.close()
    return found


def test_feedback_is_in_the_log_when_it_is_answered_with_the_champions_spec(call, world, new_key) -> None:
    model = world.champion("told")
    body = {"predictionId": "p1", "classNames": ["junk "], "observeTime": "2026-01-02T03:04:05Z"}
    answer = call("POST", f"/v1/{model}/feedback", key=new_key("viewer", "shop", name="web shop"), json=body)
    assert answer.status_code == 200, answer.text
    event = committed(world, model)[answer.json()["eventId"]]
    assert (event.prediction_id, list(event.class_names), event.source) == ("p1", ["junk"], "web shop")
    assert (event.problem_spec, event.dataset) == ("projects/shop/problemSpecs/spam", "projects/shop/datasets/mail")
    assert event.observe_time.ToJsonString() == "2026-01-02T03:04:05Z"
    assert event.accept_time.seconds > 0 and event.key_id


def test_feedback_with_features_keeps_its_own_id_and_source(call, world) -> None:
    model = world.champion("inline")
    answer = call(
        "POST", f"/v1/{model}/feedback", json={"eventId": "e-1", "features": ROW, "classNames": ["ham"], "source": "desk"}
    )
    assert answer.json() == {"eventId": "e-1"}
    event = committed(world, model)["e-1"]
    assert (event.features["text"], event.source, event.prediction_id) == ("free lunch", "desk", "")


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"classNames": ["spam"]}, "feedback.prediction_id", "what this is about"),
        ({"predictionId": "p", "features": ROW, "classNames": ["spam"]}, "feedback.prediction_id", "exclude"),
        ({"predictionId": "p"}, "feedback.class_names", "exactly one"),
        ({"predictionId": "p", "classNames": ["ham", "spam"]}, "feedback.class_names", "exactly one"),
        ({"predictionId": "p", "classNames": ["eggs"]}, "feedback.class_names[0]", "Its classes: ham, spam"),
        ({"features": {"other": 1}, "classNames": ["ham"]}, "feedback.features", "none of the model's columns"),
        ({"features": {}, "classNames": ["ham"]}, "feedback.features", "none of the model's columns"),
        ({"features": {"text": "x", "length": "long"}, "classNames": ["ham"]}, "feedback.features.length", "number"),
        ({"eventId": "x" * 201, "predictionId": "p", "classNames": ["ham"]}, "feedback.event_id", "200"),
        ({"predictionId": "p", "classNames": ["ham"], "bogus": 1}, "feedback.bogus", "no field"),
        (
            {"predictionId": "p", "classNames": ["ham"], "observeTime": "2099-01-01T00:00:00Z"},
            "feedback.observe_time",
            "'2099-01-01T00:00:00Z' is yet to come: the gateway's clock shows 20",
        ),
    ],
)
def test_feedback_that_means_nothing_is_told_by_its_field(call, world, error, body: Any, field: str, said: str) -> None:
    model = "projects/shop/models/strict"
    if call("GET", f"/v1/{model}").status_code == 404:
        world.champion("strict")
    answer = call("POST", f"/v1/{model}/feedback", json=body)
    assert answer.status_code == 400
    assert said in error(answer)["fields"][field]


def test_a_senders_clock_may_be_some_minutes_ahead(call, world) -> None:
    model = world.champion("ahead")
    for minutes, status in ((3, 200), (8, 400)):
        time_ahead = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
        body = {"predictionId": "p", "classNames": ["ham"], "observeTime": time_ahead}
        assert call("POST", f"/v1/{model}/feedback", json=body).status_code == status


def test_a_multi_label_model_takes_any_number_of_classes_none_included(call, world) -> None:
    model = world.champion("tags", classes=("a", "b", "c"), task=Task.MULTI_LABEL)
    for names in ([], ["a", "c"]):
        assert call("POST", f"/v1/{model}/feedback", json={"predictionId": "p", "classNames": names}).status_code == 200


def test_feedback_for_an_unknown_model_or_without_a_champion_is_refused(call, world, error) -> None:
    body = {"predictionId": "p", "classNames": ["ham"]}
    assert call("POST", "/v1/projects/shop/models/nobody/feedback", json=body).status_code == 404
    assert error(call("POST", f"/v1/{world.model('headless')}/feedback", json=body))["reason"] == "NO_CHAMPION"


def test_a_batch_is_committed_whole_or_not_at_all(call, world, error) -> None:
    model = world.champion("batch")
    good = [{"eventId": f"b{number}", "predictionId": f"p{number}", "classNames": ["ham"]} for number in range(50)]
    bad = [*good, {"predictionId": "p", "classNames": ["eggs"]}, {"classNames": ["ham"]}]
    refused = call("POST", f"/v1/{model}/feedback:batch", json={"feedback": bad})
    assert set(error(refused)["fields"]) == {"feedback[50].class_names[0]", "feedback[51].prediction_id"}
    assert committed(world, model) == {}
    answer = call("POST", f"/v1/{model}/feedback:batch", json={"feedback": good})
    assert answer.json()["eventIds"] == [f"b{number}" for number in range(50)]
    assert set(committed(world, model)) == {f"b{number}" for number in range(50)}


@pytest.fixture
def silent(gateway, monkeypatch) -> threading.Event:
    """While it is set, the log commits feedback and doesn't say so, as a Kafka whose acknowledgement comes too late."""
    append, quiet = gateway.gateway._events.append, threading.Event()
    monkeypatch.setattr(gateway.gateway._feedback._appender, "_patience", 0.1)

    def unacknowledged(topic: str, events: Sequence[Event]) -> Any:
        places = append(topic, events)
        if topic == FEEDBACK and quiet.is_set():
            raise EngineUnavailable("events", "it didn't answer in time")
        return places

    monkeypatch.setattr(gateway.gateway._events, "append", unacknowledged)
    return quiet


@pytest.mark.parametrize(
    ("path", "body", "given"),
    [
        ("feedback", {"predictionId": "p", "classNames": ["ham"]}, "event_id"),
        ("feedback:batch", {"feedback": [{"predictionId": f"p{n}", "classNames": ["ham"]} for n in range(3)]}, "request_id"),
        ("feedback:stream", {"feedback": [{"predictionId": f"p{n}", "classNames": ["ham"]} for n in range(3)]}, "request_id"),
        ("feedback:stream", {"feedback": [{"predictionId": "p", "classNames": ["ham"]}], "atomic": True}, "request_id"),
    ],
)
def test_what_may_be_committed_is_told_with_the_id_that_makes_a_repetition_count_once(
    call, world, silent, path: str, body: dict[str, Any], given: str
) -> None:
    model = world.champion(f"silent-{secrets.token_hex(3)}")
    silent.set()
    failed = call("POST", f"/v1/{model}/{path}", json=body)
    (info,) = (one for one in failed.json()["error"]["details"] if one["@type"].endswith("ErrorInfo"))
    assert (failed.status_code, info["reason"], failed.headers["retry-after"]) == (503, "OUTCOME_UNKNOWN", "2")
    known = info["metadata"][given]
    message = failed.json()["error"]["message"]
    assert "may have been committed. Send" in message and known in message
    before = set(committed(world, model))
    assert before and all(one.startswith(known) for one in before)
    silent.clear()
    assert call("POST", f"/v1/{model}/{path}", json={**body, given: known}).status_code == 200
    assert set(committed(world, model)) == before


def test_over_grpc_the_details_of_what_may_be_committed_have_its_id(gateway, admin, world, silent) -> None:
    model = world.champion("silent-grpc")
    silent.set()
    request = gateway_pb2.SendFeedbackRequest(parent=model, feedback={"prediction_id": "p", "class_names": ["ham"]})
    with grpc.insecure_channel(gateway.grpc) as channel, pytest.raises(grpc.RpcError) as failed:
        stub = gateway_pb2_grpc.FeedbackServiceStub(channel)
        stub.SendFeedback(request, metadata=(("authorization", f"Bearer {admin}"),), timeout=30)
    told = from_rpc_error(failed.value)
    assert isinstance(told, OutcomeUnknown) and told.retry_after
    assert set(committed(world, model)) == {told.facts["event_id"]}


class Log:
    """The SQLite log of this test, with failures and delays to order."""

    def __init__(self, inner: SqliteLog) -> None:
        self.inner = inner
        self.down = False
        self.batches: list[int] = []
        self.slow = 0.0

    def append(self, topic: str, events: Sequence[Event]) -> Sequence[tuple[int, int]]:
        if self.down:
            raise EngineUnavailable("events", "it is down")
        time.sleep(self.slow)
        self.batches.append(len(events))
        return self.inner.append(topic, events)


@pytest.fixture
def log(tmp_path):
    inner = SqliteLog(tmp_path / "events.db")
    inner.ensure_topics()
    yield Log(inner)
    inner.close()


def hand_over(appender: Appender, outcomes: list[RegrowError | None], value: bytes = b"x") -> bool:
    return appender.offer(lambda: [Event(key="k", value=value)], count=1, size=len(value), done=outcomes.append)


def wait_for(outcomes: list[Any], count: int) -> None:
    deadline = time.monotonic() + 30
    while len(outcomes) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_many_callers_share_a_commit(log) -> None:
    log.slow = 0.05
    appender, outcomes = Appender(log, FEEDBACK, most_events=1000, most_bytes=1 << 20), list[Any]()
    for _ in range(200):
        assert hand_over(appender, outcomes)
    wait_for(outcomes, 200)
    assert outcomes == [None] * 200
    assert sum(log.batches) == 200 and len(log.batches) < 10
    assert appender.close(5) == 0


def test_while_the_log_is_down_events_wait_and_are_committed_when_it_is_back(log) -> None:
    log.down = True
    appender, outcomes = Appender(log, FEEDBACK, most_events=1000, most_bytes=1 << 20, patience=10), list[Any]()
    hand_over(appender, outcomes)
    time.sleep(0.2)
    assert outcomes == [] and appender.pending == 1
    log.down = False
    wait_for(outcomes, 1)
    assert outcomes == [None]
    appender.close(5)


def test_an_event_that_waited_too_long_fails_as_unavailable_with_a_time_to_come_back(log) -> None:
    log.down = True
    appender, outcomes = Appender(log, FEEDBACK, most_events=1000, most_bytes=1 << 20, patience=0.2), list[Any]()
    hand_over(appender, outcomes)
    wait_for(outcomes, 1)
    assert isinstance(outcomes[0], EngineUnavailable) and outcomes[0].retry_after
    assert appender.close(5) == 0


def test_what_doesnt_fit_is_refused_at_once(log) -> None:
    log.down = True
    appender, outcomes = Appender(log, FEEDBACK, most_events=3, most_bytes=1 << 20, patience=60), list[Any]()
    assert [hand_over(appender, outcomes) for _ in range(5)] == [True, True, True, False, False]
    assert appender.close(0.3) in (0, 3)


def test_one_event_that_the_log_refuses_fails_alone(log) -> None:
    log.slow = 0.05
    appender, outcomes = Appender(log, FEEDBACK, most_events=1000, most_bytes=1 << 30), list[Any]()
    first: list[Any] = []
    hand_over(appender, first)
    for value in (b"a", b"b" * (17 << 20), b"c"):
        hand_over(appender, outcomes, value)
    wait_for(outcomes, 3)
    assert sorted(type(one).__name__ for one in outcomes) == sorted(["NoneType", "NoneType", TooLarge.__name__])
    appender.close(5)


@pytest.mark.slow
def test_what_was_answered_survives_a_kill_and_the_next_start_serves_without_the_registry(world, gateway, admin) -> None:
    """A gateway in a process of its own, killed in the middle of feedback; its successor finds the registry gone."""
    model = world.champion("killed")
    base = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(
        [sys.executable, "-m", "services.gateway"], env={**base, **world.environment(gateway_http_address="127.0.0.1:18931")},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    acknowledged: list[str] = []
    stop = threading.Event()

    def send(worker: int) -> None:
        with httpx.Client(base_url="http://127.0.0.1:18931", headers={"authorization": f"Bearer {admin}"}) as http:
            for number in range(100_000):
                try:
                    body = {"eventId": f"{worker}-{number}", "predictionId": "p", "classNames": ["ham"]}
                    answer = http.post(f"/v1/{model}/feedback", json=body)
                except httpx.HTTPError:
                    if stop.is_set():
                        return
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["eventId"])

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    for thread in threads:
        thread.join()
    assert len(acknowledged) >= 100
    assert set(acknowledged) <= set(committed(world, model))

    environment = world.environment(
        gateway_http_address="127.0.0.1:18931", registry_address="127.0.0.1:1", labeling_address="127.0.0.1:1"
    )
    second = subprocess.Popen(
        [sys.executable, "-m", "services.gateway"],
        env={**base, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url="http://127.0.0.1:18931", headers={"authorization": f"Bearer {admin}"}) as http:
            answer = _until_up(lambda: http.post(f"/v1/{model}:predict", json={"rows": [ROW]}))
            assert answer.status_code == 200, answer.text
            ready = http.get("/readyz")
            assert (ready.status_code, {one["name"] for one in ready.json()["missing"]}) == (200, {"registry", "labeling"})
            unknown = http.post("/v1/projects/shop/models/never-seen:predict", json={"rows": [ROW]})
            assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "2")
            upload = http.post("/v1/projects/shop/datasets:import?dataset_id=x", content=b"a\n" * 1_000_000)
            assert upload.status_code == 503
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0


def _until_up(ask) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
