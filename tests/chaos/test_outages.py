"""Kafka, MinIO and PostgreSQL away one after the other, under four real services: what goes on, and what is refused how."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chaos
import demo_steps as steps
import demo_youtube as youtube
import pytest
from feedback_loop import gold_rows
from real_engines import Server

from regrow import CallError, Client
from regrow.labeling.v1.label_sets_pb2 import ListLabelSetsRequest
from regrow.local import Local
from regrow.local.launcher import not_ready
from regrow.training.v1 import batch_predictions_pb2, runs_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MODEL = "spam"
ROW = {"text": "subscribe to my channel"}
FEEDBACK = {"features": ROW, "class_names": ["spam"], "source": "moderators"}
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chaos.Engines]:
    with chaos.real_engines(tmp_path_factory.mktemp("engines")) as running:
        yield running


@pytest.fixture(scope="module")
def local(engines: chaos.Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with Local(data=tmp_path_factory.mktemp("data"), free_ports=True, settings=engines.settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(local: Local) -> Iterator[Client]:
    """Asks once; a model is served."""
    with Client(local.grpc_address, local.admin_key, retry_for=0, timeout=60) as connected:
        rows = youtube.comments(training=400)
        youtube.import_comments(connected, rows, "comments", gold=gold_rows(rows, 100, 2))
        connected.create_spec(MODEL, dataset="comments", target="label", metric="accuracy")
        labels = connected.create_label_set("comments", problem_spec=MODEL)
        run = connected.wait_for_run(connected.create_run(labels.name, model=MODEL, express=True).name)
        connected.promote(run.version, why="the first version")
        assert steps.wait_until_served(connected, MODEL, run.version)
        yield connected


def test_while_kafka_is_away_feedback_is_refused_with_a_time_to_come_back_and_predictions_go_on(
    engines: chaos.Engines, local: Local, client: Client
) -> None:
    with away(engines.servers["kafka"], local, "events can't be reached: Kafka at"):
        assert_refused(lambda: client.send_feedback(MODEL, [{**FEEDBACK, "event_id": "never"}]), reason="OUTCOME_UNKNOWN")
        status, headers, body = posted(local, f"models/{MODEL}/feedback", FEEDBACK)
        assert (status, body["error"]["status"]) == (503, "UNAVAILABLE")
        assert int(headers["Retry-After"]) >= 1
        assert client.predict(MODEL, [ROW]).predictions[0].prediction_id
    assert client.send_feedback(MODEL, [{**FEEDBACK, "event_id": "after-kafka"}]) == ["after-kafka"]
    assert until(lambda: steps.feedback_stats(client, MODEL).votes == 1)


def test_while_minio_is_away_imports_are_refused_with_a_time_to_come_back_and_predictions_go_on(
    engines: chaos.Engines, local: Local, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "more.csv"
    file.write_text("text,label\n" + "".join(f"comment {number},spam\n" for number in range(50)))
    with away(engines.servers["minio"], local, "the store doesn't answer"):
        assert_refused(lambda: client.import_file(file, dataset_id="more"))
        assert client.predict(MODEL, [ROW]).predictions[0].prediction_id
    assert client.import_file(file, dataset_id="more").name == client.name("datasets", "more")


def test_a_batch_prediction_waits_for_minio_and_says_so_and_goes_on_at_its_last_chunk(
    engines: chaos.Engines, client: Client, tmp_path: Path
) -> None:
    file, rows = tmp_path / "many.csv", 60_000
    file.write_text("text\n" + "".join(f"please look at channel number {number} of many\n" for number in range(rows)))
    client.import_file(file, dataset_id="many")
    name = client.create_batch_prediction("many", model=MODEL).name
    assert until(lambda: client.get_batch_prediction(name).rows_done > 0)
    engines.servers["minio"].kill()
    try:
        assert until(lambda: "the object store" in client.get_batch_prediction(name).waiting_for)
        waiting = client.get_batch_prediction(name)
        assert (waiting.state, waiting.problem) == (batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING, "")
        assert 0 < waiting.rows_done < rows
    finally:
        engines.servers["minio"].start()
    *_, ended = client.watch_batch_prediction(name)
    assert (ended.state, ended.problem) == (batch_predictions_pb2.BATCH_PREDICTION_STATE_SUCCEEDED, "")
    assert (ended.rows_done, ended.attempts, ended.waiting_for) == (rows, 1, "")


def test_a_run_waits_for_minio_and_says_so_and_trains_then(engines: chaos.Engines, client: Client) -> None:
    [labels] = client.label_sets.ListLabelSets.each(ListLabelSetsRequest(parent=client.name("datasets", "comments")))
    engines.servers["minio"].kill()
    try:
        name = client.create_run(labels.name, model=MODEL, express=True).name
        assert until(lambda: "the object store" in client.get_run(name).waiting_for)
        assert client.get_run(name).state == runs_pb2.RUN_STATE_RUNNING
    finally:
        engines.servers["minio"].start()
    ended = client.wait_for_run(name)
    assert (ended.state, ended.attempts, ended.waiting_for) == (runs_pb2.RUN_STATE_SUCCEEDED, 1, ""), ended.problem
    told = [event.message for event in client.watch_run(name)]
    assert any(line.startswith("It waits for the object store") for line in told) and "It goes on." in told


def test_while_postgresql_is_away_changes_are_refused_with_a_time_to_come_back_and_predictions_go_on(
    engines: chaos.Engines, local: Local, client: Client
) -> None:
    before = steps.feedback_stats(client, MODEL).votes
    with away(engines.servers["postgresql"], local, "database can't be reached"):
        assert_refused(lambda: client.create_spec("other", dataset="comments", target="label"))
        assert client.predict(MODEL, [ROW]).predictions[0].prediction_id
        accepted = client.send_feedback(MODEL, [{**FEEDBACK, "event_id": "during-postgresql"}])
    assert accepted == ["during-postgresql"]  # committed to Kafka; the ledger follows when it can
    assert client.create_spec("other", dataset="comments", target="label")
    assert until(lambda: steps.feedback_stats(client, MODEL).votes == before + 1)


@contextmanager
def away(server: Server, local: Local, told: str) -> Iterator[None]:
    """Killed, as readiness tells; and at the end there again, which readiness tells too."""
    server.kill()
    try:
        assert until(lambda: told in not_ready(local.url)), not_ready(local.url)
        yield
    finally:
        server.start()
    assert until(lambda: not_ready(local.url) == ""), not_ready(local.url)


def assert_refused(call: Callable[[], Any], reason: str = "ENGINE_UNAVAILABLE") -> None:
    """UNAVAILABLE within a bounded time, with the engine's error and RetryInfo."""
    begun = time.monotonic()
    with pytest.raises(CallError) as refused:
        call()
    assert time.monotonic() - begun < PATIENCE_SECONDS
    assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", reason), refused.value
    assert refused.value.retry_after


def posted(local: Local, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
    request = urllib.request.Request(
        f"{local.url}/v1/projects/default/{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {local.admin_key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, {name.title(): value for name, value in refusal.headers.items()}, json.load(refusal)


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()
