"""The services of compose.yaml, started with exactly its commands and environments, on real Kafka, MinIO and PostgreSQL.

What an engine would do is done here: names of hosts become ports of loopback, mounts become folders. Nothing else reaches the
processes: no variable of this machine but PATH, and an empty working directory.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import demo_steps as steps
import demo_youtube as youtube
import psycopg
import pytest
from compose_file import DEPLOY, OURS, composed
from otlp_collector import Collector, Received, collector
from real_engines import kafka_server, minio_server, postgres_server, running

from regrow import Client
from regrow.local.ports import free_ports
from regrow.local.supervisor import KEY
from regrow.training.v1 import runs_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
SECONDS = 90.0
ALL = composed()


@dataclass(slots=True, kw_only=True)
class Stack:
    """What the file describes, running. `hosts` maps what the file writes to what this machine has."""

    folder: Path
    hosts: dict[str, str]
    metrics: dict[str, int]
    spans: Collector
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, in this machine's terms."""
        own = {variable: self.here(str(value), name) for variable, value in ALL[name]["environment"].items()}
        own["REGROW_METRICS_PORT"] = str(self.metrics[name])
        own["REGROW_OTLP_ENDPOINT"] = self.spans.endpoint  # what an operator writes into .env
        return {**own, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "home")}

    def here(self, text: str, name: str) -> str:
        text = text.replace("/run/secrets/", f"{self.folder}/secrets/")
        if text == "/data":
            return str(self.folder / name)
        for there, here in self.hosts.items():
            text = text.replace(there, here)
        return "127.0.0.1" if text == "0.0.0.0" else text

    def command(self, words: list[str], name: str) -> list[str]:
        return [sys.executable if word == "python" else self.here(word, name) for word in words]

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(ALL[name]["command"], name), env=self.environment(name), cwd=self.folder / "empty",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """By the health check of the file."""
        kind, *words = ALL[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = subprocess.run(
            self.command(words, name), env=self.environment(name), cwd=self.folder / "empty", capture_output=True, check=False
        )
        return check.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with ExitStack() as engines:
        servers = {}
        for name, make in _engines().items():
            place = engines.enter_context(TemporaryDirectory(prefix=f"regrow-{name}-", ignore_cleanup_errors=True))
            servers[name] = engines.enter_context(running(make(Path(place))))
        ports = iter(free_ports(9))
        hosts = {"kafka:9092": servers["kafka"].address, "minio:9000": servers["minio"].address}
        hosts["postgres:5432"] = servers["postgres"].address
        for service, port in (("labeling", 7071), ("training", 7072), ("registry", 7073), ("gateway", 8080), ("gateway", 8081)):
            here = f"127.0.0.1:{next(ports)}"
            hosts |= {f"{host}:{port}": here for host in (service, "0.0.0.0", "127.0.0.1")}
        spans = engines.enter_context(collector())
        made = Stack(folder=folder, hosts=hosts, metrics={name: next(ports) for name in OURS}, spans=spans)
        for part in ("secrets", "empty", "home", *OURS):
            (folder / part).mkdir()
        _make_secrets(made)
        _make_databases(servers["postgres"].address)
        try:
            for name in OURS:
                made.start(name)
            _wait(lambda: all(made.is_healthy(name) for name in OURS), made)
            yield made
        finally:
            for process in made.processes.values():
                process.terminate()
            for process in made.processes.values():
                process.wait(60)


def _engines() -> Mapping[str, Callable[[Path], Any]]:
    """With the broker settings of the file that aren't about listeners and replicas."""
    kept = ("KAFKA_MESSAGE_MAX_BYTES", "KAFKA_AUTO_CREATE_TOPICS_ENABLE")
    told = ALL["kafka"]["environment"]
    extra = "\n".join(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={told[name]}" for name in kept)
    return {"kafka": lambda folder: kafka_server(folder, extra), "minio": minio_server, "postgres": postgres_server}


def _make_secrets(stack: Stack) -> None:
    """As the operator does; MinIO's is the one that the test's server has, PostgreSQL's host is written in its URLs."""
    folder = stack.folder / "secrets"
    (folder / "minio_secret_key").write_text("regrow-secret")
    subprocess.run([sys.executable, str(DEPLOY / "make_secrets.py"), str(folder)], check=True, capture_output=True)
    for path in folder.glob("*_database_url"):
        path.write_text(stack.here(path.read_text(), ""))


def _make_databases(address: str) -> None:
    """The script that the file mounts for PostgreSQL's first start, run by the user that it names."""
    told = ALL["postgres"]["environment"]
    host, _, port = address.partition(":")
    with psycopg.connect(host=host, port=int(port), user="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {told['POSTGRES_USER']} LOGIN CREATEDB")
        admin.execute(f"CREATE DATABASE {told['POSTGRES_DB']} OWNER {told['POSTGRES_USER']}")
    with psycopg.connect(
        host=host, port=int(port), user=told["POSTGRES_USER"], dbname=told["POSTGRES_DB"], autocommit=True
    ) as user:
        for statement in re.findall(r"^[A-Z][^;]*;", (DEPLOY / "postgres" / "databases.sql").read_text(), re.MULTILINE):
            user.execute(statement)


def _wait(done: Callable[[], bool], stack: Stack) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        dead = [name for name, process in stack.processes.items() if process.poll() is not None]
        if dead or time.monotonic() > deadline:
            pytest.fail("\n".join(f"--- {name}\n{stack.log(name)[-3000:]}" for name in dead or OURS))
        time.sleep(0.2)


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """The first admin key, from where the operator finds it."""
    found = KEY.search(stack.log("gateway"))
    assert found
    return found.group()


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
    _wait(lambda: steps.feedback_stats(client, "spam").votes == 1, stack)


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

    _wait(says_that_it_is_ready, stack)


@pytest.mark.parametrize("name", OURS)
def test_each_service_can_be_checked_where_it_runs(name: str, stack: Stack) -> None:
    command = [*stack.command(ALL[name]["command"], name), "--check", "--json"]
    environment = stack.environment(name)
    done = subprocess.run(command, env=environment, cwd=stack.folder / "empty", capture_output=True, text=True, check=False)
    found = {line["check"]: line for line in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    for check in ("database", "database clock", "event log", "objects", "objects clock", "dead letters", "lag of labeling"):
        assert found[check]["verdict"] == "ok", found[check]
