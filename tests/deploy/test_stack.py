"""What compose.yaml describes works: a model, feedback, traces, figures and checks (`stack.py` says how it is started)."""

from __future__ import annotations

import json
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import demo_steps as steps
import demo_youtube as youtube
import pytest
from compose_file import OURS, composed
from otlp_collector import Received
from stack import SECONDS, Stack, started

from regrow import Client
from regrow.training.v1 import runs_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack"), composed()) as made:
        yield made


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.key


@pytest.fixture(scope="module")
def client(stack: Stack, key: str) -> Iterator[Client]:
    with Client(stack.hosts["gateway:8081"], key) as connected:
        yield connected


def test_a_model_is_made_and_predicts_through_the_stack_and_feedback_reaches_the_ledger(
    stack: Stack, client: Client, key: str
) -> None:
    rows = youtube.comments(training=400, production=20)
    youtube.import_comments(client, rows, "spam", gold=range(300))
    client.create_spec("spam", dataset="spam", target="label", metric="accuracy")
    labels = client.create_label_set("spam", problem_spec="spam", label_set_id="gold")
    run = client.wait_for_run(client.create_run(labels.name, model="spam", express=True).name)
    assert run.state == runs_pb2.RUN_STATE_SUCCEEDED, run.problem
    client.promote(run.version)
    assert steps.wait_until_served(client, "spam", run.version)
    request = urllib.request.Request(
        f"http://{stack.hosts['gateway:8080']}/v1/projects/default/models/spam:predict",
        data=json.dumps({"rows": [{"text": "subscribe to my channel please"}]}).encode(),
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        (prediction,) = json.load(answer)["predictions"]
    assert prediction["classNames"] == ["spam"]
    assert steps.send_labels(client, "spam", [(prediction["predictionId"], "spam")], "moderators") == 1
    stack.wait(lambda: steps.feedback_stats(client, "spam").votes == 1)


def test_one_trace_leads_from_rest_through_grpc_and_through_kafka_to_the_ledger(stack: Stack, key: str) -> None:
    """A list, which labeling answers over gRPC, and feedback, which Kafka keeps: both in the trace of their sender."""
    trace, sender = secrets.token_hex(16), secrets.token_hex(8)

    def sent(path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{stack.hosts['gateway:8080']}/v1/projects/default/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "traceparent": f"00-{trace}-{sender}-01"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    assert sent("datasets")["datasets"]
    told = sent("models/spam:predict", {"rows": [{"text": "subscribe to my channel"}]})["predictions"][0]["predictionId"]
    event = sent("models/spam/feedback", {"predictionId": told, "classNames": ["spam"], "source": "moderators"})["eventId"]

    wanted = {
        ("gateway", "GET /v1/{parent=projects/*}/datasets"): sender,
        ("labeling", "regrow.labeling.v1.DatasetService/ListDatasets"): "gateway",
        ("gateway", "POST /v1/{parent=projects/*/models/*}/feedback"): sender,
        ("gateway", "send regrow.feedback"): "gateway",
        ("labeling", "process regrow.feedback"): "gateway",
        ("training", "process regrow.feedback"): "gateway",
    }

    def complete(spans: list[Received]) -> bool:
        return wanted.keys() <= {(span.service, span.name) for span in spans}

    spans = stack.spans.trace(trace, complete, seconds=SECONDS)
    assert complete(spans), sorted({(span.service, span.name) for span in spans})
    by_id = {span.id: span for span in spans}
    for where, parent in wanted.items():
        span = next(one for one in spans if (one.service, one.name) == where)
        assert parent in (span.parent, by_id[span.parent].service if span.parent in by_id else None), where
    (applied,) = [span for span in spans if (span.service, span.name) == ("labeling", "process regrow.feedback")]
    assert by_id[applied.parent].name == "send regrow.feedback"
    assert (applied.attributes["messaging.system"], applied.attributes["messaging.message.id"]) == ("kafka", event)


def test_the_engines_hold_what_the_services_keep_and_their_folders_no_database_and_no_object(stack: Stack) -> None:
    for name in OURS:
        kept = [path for path in (stack.folder / name).rglob("*") if path.is_file()]
        assert not [path for path in kept if path.suffix in (".db", ".token") or "objects" in path.parts], kept
    assert list((stack.folder / "empty").iterdir()) == []


@pytest.mark.parametrize("name", OURS)
def test_prometheus_finds_its_figures_where_the_file_puts_them(name: str, stack: Stack) -> None:
    def says_that_it_is_ready() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.metrics[name]}/metrics", timeout=30) as answer:
            return f'regrow_ready{{service="{name}"}} 1.0' in answer.read().decode()

    stack.wait(says_that_it_is_ready)


@pytest.mark.parametrize("name", OURS)
def test_each_service_can_be_checked_where_it_runs(name: str, stack: Stack) -> None:
    command = [*stack.command(stack.services[name]["command"], name), "--check", "--json"]
    environment = stack.environment(name)
    done = subprocess.run(command, env=environment, cwd=stack.folder / "empty", capture_output=True, text=True, check=False)
    found = {line["check"]: line for line in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    for check in ("database", "database clock", "event log", "objects", "objects clock", "dead letters", "lag of labeling"):
        assert found[check]["verdict"] == "ok", found[check]
