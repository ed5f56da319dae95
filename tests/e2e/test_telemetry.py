"""Four real services, a collector beside them: one piece of feedback followed through all that it sets going."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_steps as steps
import demo_youtube as youtube
import prometheus_client.parser
import pytest
from feedback_loop import gold_rows

from regrow import Client
from regrow.local import Local
from regrow.local.ports import free_ports
from regrow.training.v1 import policies_pb2, runs_pb2

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

from metric_rules import problems_of
from otlp_collector import Collector, Received, collector
from queries import alerts, metric_names, panels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
MODEL, FEEDBACK = "spam", 300
SERVICES = ("gateway", "labeling", "training", "registry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A system whose last piece of feedback, sent with a trace of its sender's, made it regrow."""

    local: Local
    client: Client
    collector: Collector
    rows: youtube.Comments
    trace: str
    sender: str
    request_id: str
    event_id: str
    regrowth: policies_pb2.Regrowth
    ports: dict[str, int]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with collector() as spans:
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        settings = {"REGROW_OTLP_ENDPOINT": spans.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        settings |= {f"REGROW_{service.upper()}_METRICS_PORT": str(port) for service, port in ports.items()}
        with (
            Local(data=tmp_path_factory.mktemp("observed"), free_ports=True, settings=settings) as local,
            Client(local.grpc_address, local.admin_key) as client,
        ):
            yield _regrown(local, client, spans, ports)


def _regrown(local: Local, client: Client, spans: Collector, ports: dict[str, int]) -> Observed:
    rows = youtube.comments(training=800, production=FEEDBACK)
    youtube.import_comments(client, rows, MODEL, gold=gold_rows(rows, 20, 2))
    client.create_spec(MODEL, dataset=MODEL, target="label", metric="accuracy")
    labels = client.create_label_set(MODEL, problem_spec=MODEL, label_set_id="gold")
    run = client.wait_for_run(client.create_run(labels.name, model=MODEL, express=True).name)
    assert run.state == runs_pb2.RUN_STATE_SUCCEEDED, run.problem
    client.promote(run.version)
    assert steps.wait_until_served(client, MODEL, run.version)
    policy = steps.create_policy(client, MODEL, MODEL, feedback_count=FEEDBACK)
    features: list[dict[str, Any]] = [{"text": row["text"]} for row in rows.production]
    ids = [one.prediction_id for piece in steps.batches(features, 100) for one in client.predict(MODEL, piece).predictions]
    told = list(zip(ids, (row["label"] for row in rows.production), strict=True))
    assert steps.send_labels(client, MODEL, told[:-1], "moderators") == FEEDBACK - 1
    trace, sender, request_id = secrets.token_hex(16), secrets.token_hex(8), f"e2e-{secrets.token_hex(4)}"
    event_id = _send_last(local, told[-1], trace, sender, request_id)
    *_, regrowth = steps.wait_for_regrowth(client, policy.name, seconds=120)
    assert regrowth.state == policies_pb2.REGROWTH_STATE_PROMOTED, regrowth.decision
    assert steps.wait_until_served(client, MODEL, regrowth.challenger)
    return Observed(
        local=local, client=client, collector=spans, rows=rows, trace=trace, sender=sender, request_id=request_id,
        event_id=event_id, regrowth=regrowth, ports=ports,
    )  # fmt: skip


def _send_last(local: Local, told: tuple[str, str], trace: str, sender: str, request_id: str) -> str:
    request = urllib.request.Request(
        f"{local.url}/v1/projects/default/models/{MODEL}/feedback",
        data=json.dumps({"predictionId": told[0], "classNames": [told[1]], "source": "moderators"}).encode(),
        headers={
            "Authorization": f"Bearer {local.admin_key}", "traceparent": f"00-{trace}-{sender}-01", "x-request-id": request_id,
        },
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["eventId"])


class Tree:
    """The spans of one trace."""

    def __init__(self, spans: list[Received]) -> None:
        self.spans = spans

    def under(self, parent: Received | str, *path: tuple[str, str]) -> Received:
        """Goes down, from parent to child, along (service, name); each step must exist."""
        identity = parent if isinstance(parent, str) else parent.id
        for service, name in path:
            children = [span for span in self.spans if span.parent == identity]
            found = [span for span in children if (span.service, span.name) == (service, name)]
            assert found, f"no {name} of {service} among {[(span.service, span.name) for span in children]}"
            identity, last = found[-1].id, found[-1]
        return last


@pytest.fixture(scope="module")
def tree(observed: Observed) -> Tree:
    return Tree(observed.collector.trace(observed.trace, lambda spans: {"swap", "regrowth"} <= {span.name for span in spans}))


def test_one_trace_leads_from_the_rest_call_to_the_ledger_and_to_the_regrowth(observed: Observed, tree: Tree) -> None:
    route = "POST /v1/{parent=projects/*/models/*}/feedback"
    sent = tree.under(observed.sender, ("gateway", route), ("gateway", "send regrow.feedback"))
    applied = tree.under(sent, ("labeling", "process regrow.feedback"))
    assert applied.attributes["messaging.message.id"] == observed.event_id
    assert applied.attributes["messaging.consumer.group.name"] == "labeling"
    tree.under(sent, ("training", "process regrow.feedback"))
    regrowth = tree.under(sent, ("training", "start a regrowth"), ("training", "regrowth"))
    assert regrowth.attributes["regrow.regrowth"] == observed.regrowth.name


def test_the_trace_goes_on_through_labeling_a_training_process_and_the_registry(tree: Tree) -> None:
    regrowth = next(span for span in tree.spans if span.name == "regrowth")
    cut = "regrow.labeling.v1.RegrowthService/CutLabelSet"
    tree.under(regrowth, ("training", "regrowth cut"), ("training", cut), ("labeling", cut))
    run = tree.under(regrowth, ("training", "regrowth train"), ("training", "run"))
    tree.under(run, ("training-worker", "fit"))
    register = "regrow.registry.v1.VersionService/CreateVersion"
    tree.under(run, ("training", register), ("registry", register))


def test_the_trace_ends_with_the_gateways_swap_to_the_version_that_the_feedback_made(observed: Observed, tree: Tree) -> None:
    move = "regrow.registry.v1.AliasService/SetAlias"
    regrowth = next(span for span in tree.spans if span.name == "regrowth")
    moved = tree.under(regrowth, ("training", "regrowth decide"), ("training", move), ("registry", move))
    swap = tree.under(moved, ("registry", "send regrow.registry"), ("gateway", "follow the registry"), ("gateway", "swap"))
    assert swap.attributes["regrow.version"] == observed.regrowth.challenger


def test_the_request_id_of_the_call_is_in_the_logs_of_every_service_that_worked_for_it(observed: Observed) -> None:
    for service in SERVICES:
        written = (observed.local.data / "logs" / f"{service}.log").read_text()
        lines = [json.loads(line) for line in written.splitlines() if observed.request_id in line]
        assert any(line["request_id"] == observed.request_id for line in lines), service
        assert {line.get("trace_id") for line in lines if line.get("request_id")} == {observed.trace}, service


def test_no_span_holds_a_row_a_label_set_by_hand_or_a_secret(observed: Observed) -> None:
    everything = "\n".join(span.text for span in observed.collector.received)
    token = (observed.local.data / "internal.token").read_text().strip()
    assert observed.local.admin_key not in everything and token not in everything
    assert not [row["text"] for row in observed.rows.production if len(row["text"]) > 20 and row["text"][:20] in everything]


@pytest.fixture(scope="module")
def scraped(observed: Observed) -> dict[str, list[Any]]:
    """What each service tells Prometheus once all is done."""
    found = {}
    for service, port in observed.ports.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            found[service] = list(prometheus_client.parser.text_string_to_metric_families(answer.read().decode()))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_names_follow_the_conventions_and_every_labels_values_are_fixed(service: str, scraped: dict[str, list[Any]]) -> None:
    assert [problem for family in scraped[service] for problem in problems_of(family)] == []


def test_every_metric_that_a_dashboard_or_an_alert_names_is_among_them(scraped: dict[str, list[Any]]) -> None:
    deploy = Path(__file__).parents[2] / "deploy"
    queries = [query for _, query in panels(deploy / "grafana" / "dashboards" / "regrow.json")]
    queries += [rule["expr"] for rule in alerts(deploy / "prometheus" / "alerts.yaml")]
    # `up` is Prometheus' own; certificates are told where there are any
    named = {name for query in queries for name in metric_names(query)} - {"up", "regrow_certificate_end_seconds"}
    families = [family for service in scraped.values() for family in service]
    found = {sample.name for family in families for sample in family.samples}
    # A counter or histogram with labels has no sample before its first event, which for errors never came; it is announced.
    found |= {f"{family.name}_total" for family in families if family.type == "counter"}
    assert len(named) > 20 and named <= found, named - found


def test_the_figures_are_those_of_what_happened(observed: Observed, scraped: dict[str, list[Any]]) -> None:
    def value(scraped_from: str, name: str, **labels: str) -> float:
        samples = [sample for family in scraped[scraped_from] for sample in family.samples if sample.name == name]
        (found,) = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
        return float(found)

    assert value("gateway", "regrow_predicted_rows_total") >= FEEDBACK
    assert value("gateway", "regrow_append_queue_events", topic="regrow.feedback") == 0
    assert value("gateway", "regrow_model_swaps_total", outcome="swapped") == 2
    assert value("gateway", "regrow_models_loaded") == 1
    assert value("gateway", "regrow_event_append_seconds_count", topic="regrow.feedback") >= 2
    assert value("gateway", "regrow_model_seconds_count") >= 3
    assert value("labeling", "regrow_feedback_events_total", fate="VOTED") == FEEDBACK
    assert value("labeling", "regrow_feedback_age_seconds_count", since="accept") == FEEDBACK
    assert value("labeling", "regrow_consumer_events_total", topic="regrow.feedback", outcome="handled") == FEEDBACK
    assert value("labeling", "regrow_consumer_events_total", topic="regrow.feedback", outcome="dead_letter") == 0
    assert value("training", "regrow_runs", state="succeeded") == 2
    assert value("training", "regrow_regrowths", state="promoted") == 1
    assert value("training", "regrow_feedback_waiting_events") == 0
    assert value("registry", "regrow_outbox_pending_events") == 0
    cut = "regrow.labeling.v1.RegrowthService/CutLabelSet"
    assert value("labeling", "regrow_rpc_requests_total", method=cut, code="OK") == 1
    for service in SERVICES:
        assert value(service, "regrow_ready", service=service) == 1
        assert value(service, "regrow_build_info", service=service) == 1
        assert value(service, "process_resident_memory_bytes") > 1e7


def test_the_doctor_finds_a_running_system_well_and_says_how_to_mend_what_is_not(observed: Observed) -> None:
    found = _doctor(observed)
    assert [line for line in found.values() if line["verdict"] == "problem"] == []
    assert {where for where, _ in found} == {*SERVICES, "gateway (API)"}
    for service in SERVICES:
        assert found[service, "database"]["verdict"] == found[service, "ports"]["verdict"] == "ok"
        assert found["gateway (API)", f"service {service}"]["verdict"] == "ok"
    for check in ("clock", "clock of training", "lag of labeling", "version"):
        assert found["gateway (API)", check]["verdict"] == "ok"
    token = observed.local.data / "internal.token"
    token.chmod(0o644)
    try:
        line = _doctor(observed, expect=1)["registry", "data folder"]
    finally:
        token.chmod(0o600)
    assert line["verdict"] == "problem" and "chmod 600" in line["todo"]


def _doctor(observed: Observed, expect: int = 0) -> dict[tuple[str, str], dict[str, str]]:
    """Findings by place and check."""
    environment = {**os.environ, "REGROW_GRPC": observed.local.grpc_address, "REGROW_KEY": observed.local.admin_key}
    command = [sys.executable, "-m", "regrow.cli", "doctor", "--json", "--data", str(observed.local.data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return {(line["where"], line["check"]): line for line in json.loads(done.stdout)}
