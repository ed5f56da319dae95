"""Runs through the whole service: real gRPC, real queue, a real training process, the real registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from training_world import FULL, LOST, PROJECT, SEED, SPEC, VERSION, Client, World

from regrow.training.v1 import designs_pb2, runs_pb2
from services.common.errors import AlreadyExists, InvalidField, NotFound, RequestIdReused

SUCCEEDED, FAILED, CANCELLED = runs_pb2.RUN_STATE_SUCCEEDED, runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_CANCELLED


@pytest.fixture
def closed(world: World) -> Iterator[threading.Event]:
    """Runs get as far as asking for their data, until the event is set."""
    world.labeling.gate.clear()
    yield world.labeling.gate
    world.labeling.gate.set()


def until(client: Client, name: str, state: int) -> Any:
    deadline = time.monotonic() + 20
    while (run := client.get(name)).state != state:
        assert time.monotonic() < deadline, f"'{name}' is still {run.state}"
        time.sleep(0.02)
    return run


def test_a_run_trains_registers_a_version_and_reports(trained: Any, world: World) -> None:
    assert (trained.state, trained.problem, trained.attempts) == (SUCCEEDED, "", 1)
    (version,) = world.versions_of(f"{PROJECT}/models/trained")
    assert trained.version == version.name
    holdout = {score.metric: score for score in trained.report.holdout}
    assert holdout["accuracy"].low <= holdout["accuracy"].value <= holdout["accuracy"].high
    assert version.scores["accuracy"] == holdout["accuracy"].value
    assert trained.report.selection.metric == "accuracy"
    assert {baseline.name for baseline in trained.report.baselines} >= {"majority_class", "logistic_regression"}
    assert sum(sum(row.predicted) for row in trained.report.confusion_matrix) == trained.report.holdout_rows == 100
    assert trained.create_time.ToNanoseconds() <= trained.start_time.ToNanoseconds() <= trained.end_time.ToNanoseconds()


def test_the_receipt_says_what_the_version_was_made_from(trained: Any, world: World) -> None:
    receipt = world.versions_of(f"{PROJECT}/models/trained")[0].receipt
    assert (receipt.run, receipt.label_set, receipt.problem_spec) == (trained.name, SEED, SPEC)
    assert receipt.dataset_version == VERSION
    assert receipt.label_set_digest.startswith("sha256:") and receipt.dataset_digest.startswith("sha256:")
    assert list(receipt.labelers) == [f"{PROJECT}/labelers/good-words"]
    assert receipt.schedule["design"]["text"] == "brew"
    assert receipt.software["regrow"]


def test_a_schedule_is_answered_with_every_default_filled_in(trained: Any) -> None:
    assert trained.schedule.design.template == "brew"
    assert (trained.schedule.max_epochs, trained.schedule.patience, trained.schedule.gold_weight) == (60, 8, 1)
    assert trained.schedule.design.text == designs_pb2.TEXT_ENCODER_BREW
    assert trained.schedule.design.tabular == designs_pb2.TABULAR_ENCODER_LINEAR
    assert trained.priority == runs_pb2.PRIORITY_STANDARD


def test_the_past_of_a_run_can_be_watched_from_any_event(trained: Any, client: Client) -> None:
    events = client.watched(trained.name)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [event.WhichOneof("event") for event in events]
    assert (events[0].state, events[1].state, events[-1].state) == (
        runs_pb2.RUN_STATE_QUEUED, runs_pb2.RUN_STATE_RUNNING, SUCCEEDED,
    )  # fmt: skip
    assert {"epoch", "message", "report"} <= set(kinds)
    epoch = next(event.epoch for event in events if event.WhichOneof("event") == "epoch")
    assert (epoch.epoch, epoch.losses[0].head) == (1, "joint")
    assert client.watched(trained.name, after=3) == events[3:]
    assert client.watched(trained.name, after=len(events)) == []


def test_the_same_request_id_is_the_same_run_and_one_with_other_content_is_refused(trained: Any, client: Client) -> None:
    again = client.create(f"{PROJECT}/models/trained", label_set=SEED, run_id="trained", request_id="trained-1")
    assert (again.name, again.state) == (trained.name, SUCCEEDED)
    with pytest.raises(RequestIdReused):
        client.create(f"{PROJECT}/models/other", run_id="trained", request_id="trained-1")
    with pytest.raises(AlreadyExists):
        client.create(f"{PROJECT}/models/trained", run_id="trained")


def test_the_leaderboard_of_a_label_set_has_the_trained_run_first(trained: Any, client: Client) -> None:
    answer = client.runs.ListRuns(runs_pb2.ListRunsRequest(parent=PROJECT, label_set=SEED, page_size=1))
    assert [run.name for run in answer.runs] == [trained.name]


def test_a_run_that_cannot_work_says_why_and_registers_nothing(client: Client, world: World, model: str) -> None:
    ended = client.finished(client.create(model, label_set=LOST).name)
    assert ended.state == FAILED
    assert "There is no data set version" in ended.problem
    assert world.versions_of(model) == []
    assert not ended.HasField("report")


def test_express_goes_before_standard_and_equals_in_order(client: Client, closed: threading.Event, model: str) -> None:
    first = client.create(model, label_set=LOST)
    until(client, first.name, runs_pb2.RUN_STATE_RUNNING)
    waiting = [client.create(model, label_set=LOST).name for _ in range(3)]
    express = client.create(model, label_set=LOST, priority=runs_pb2.PRIORITY_EXPRESS)
    closed.set()
    ended = [client.finished(name) for name in (first.name, express.name, *waiting)]
    started = [run.start_time.ToNanoseconds() for run in ended]
    assert started == sorted(started)
    assert {run.state for run in ended} == {FAILED}


def test_a_queued_run_that_is_cancelled_never_starts(client: Client, closed: threading.Event, model: str) -> None:
    first, second = client.create(model, label_set=LOST), client.create(model)
    until(client, first.name, runs_pb2.RUN_STATE_RUNNING)
    cancelled = client.runs.CancelRun(runs_pb2.CancelRunRequest(name=second.name))
    assert cancelled.state == CANCELLED
    closed.set()
    client.finished(first.name)
    last = client.finished(client.create(model, label_set=LOST).name)
    assert last.state == FAILED
    assert client.get(second.name) == cancelled
    assert client.runs.CancelRun(runs_pb2.CancelRunRequest(name=second.name)) == cancelled
    assert cancelled.attempts == 0


def test_a_running_run_that_is_cancelled_ends_without_a_version(client: Client, world: World, model: str) -> None:
    run = client.create(model)
    for event in client.runs.WatchRun(runs_pb2.WatchRunRequest(name=run.name)):
        if event.state == runs_pb2.RUN_STATE_RUNNING:
            client.runs.CancelRun(runs_pb2.CancelRunRequest(name=run.name))
    assert client.get(run.name).state == CANCELLED
    assert world.versions_of(model) == []


def test_watching_follows_a_run_from_the_queue_to_its_end(client: Client, closed: threading.Event, model: str) -> None:
    run, seen = client.create(model, label_set=LOST), list[int]()
    for event in client.runs.WatchRun(runs_pb2.WatchRunRequest(name=run.name), timeout=30):
        seen.append(event.state)
        if event.state == runs_pb2.RUN_STATE_RUNNING:
            closed.set()
    assert [state for state in seen if state] == [runs_pb2.RUN_STATE_QUEUED, runs_pb2.RUN_STATE_RUNNING, FAILED]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"label_set": f"{PROJECT}/datasets/reviews/labelSets/none"}, NotFound, "label set"),
        ({"label_set": "nonsense"}, InvalidField, "run.label_set"),
        ({"label_set": FULL.replace("default", "other")}, InvalidField, "another project"),
        ({"run_id": "Not an id"}, InvalidField, "run_id"),
        ({"schedule": designs_pb2.Schedule(design=designs_pb2.Design(template="table"))}, InvalidField, "reads table columns"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(
    client: Client, model: str, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        client.create(model, **wrong)


def test_a_run_needs_a_project_that_exists_and_a_model_of_the_same(client: Client) -> None:
    with pytest.raises(InvalidField, match="another project"):
        client.create("projects/other/models/m")
    with pytest.raises(InvalidField, match=r"run\.model"):
        client.create("m")


def test_a_run_that_does_not_exist_is_not_found(client: Client) -> None:
    name = f"{PROJECT}/runs/none"
    with pytest.raises(NotFound):
        client.get(name)
    with pytest.raises(NotFound):
        client.watched(name)
    with pytest.raises(NotFound):
        client.runs.CancelRun(runs_pb2.CancelRunRequest(name=name))


def test_pages_of_runs_leave_none_out_and_repeat_none(client: Client, closed: threading.Event, model: str) -> None:
    names = [client.create(model, label_set=LOST).name for _ in range(3)]
    first = client.runs.ListRuns(runs_pb2.ListRunsRequest(parent=PROJECT, model=model, page_size=2))
    names.append(client.create(model, label_set=LOST).name)
    rest = client.runs.ListRuns(
        runs_pb2.ListRunsRequest(parent=PROJECT, model=model, page_size=2, page_token=first.next_page_token)
    )
    assert [run.name for run in (*first.runs, *rest.runs)] == names[2::-1]
    assert rest.next_page_token == ""
    closed.set()
    for name in names:
        client.finished(name)


def test_a_design_is_validated_against_the_columns_of_a_spec(client: Client) -> None:
    def validate(template: str) -> Any:
        schedule = designs_pb2.Schedule(design=designs_pb2.Design(template=template))
        request = designs_pb2.ValidateDesignRequest(parent=PROJECT, problem_spec=SPEC, schedule=schedule)
        return client.designs.ValidateDesign(request)

    assert (list(validate("brew").text_columns), list(validate("brew").problems)) == (["review"], [])
    assert "reads table columns" in validate("table").problems[0]
    assert "there is no template" in validate("magic").problems[0]
    assert len(client.designs.ListTemplates(designs_pb2.ListTemplatesRequest()).templates) >= 5


def test_a_call_that_is_repeated_while_the_run_runs_or_waits_starts_nothing_twice(
    client: Client, closed: threading.Event, model: str
) -> None:
    running = client.create(model, label_set=LOST, request_id=f"{model} 1")
    waiting = client.create(model, label_set=LOST, request_id=f"{model} 2")
    until(client, running.name, runs_pb2.RUN_STATE_RUNNING)
    for number, run in enumerate((running, waiting), start=1):
        assert client.create(model, label_set=LOST, request_id=f"{model} {number}").name == run.name
    closed.set()
    assert [client.finished(run.name).attempts for run in (running, waiting)] == [1, 1]
    assert client.create(model, label_set=LOST, request_id=f"{model} 1").state == FAILED
