"""`python -m services.training` that is killed or stopped in the middle of its work, and what the next start makes of it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from training_world import (
    ADA,
    FULL,
    LARGE,
    LARGE_ROWS,
    PROJECT,
    SEED,
    TOKEN,
    Client,
    World,
    not_applied_until,
    send_feedback,
)

from regrow.training.v1 import batch_predictions_pb2, batch_predictions_pb2_grpc, policies_pb2, runs_pb2
from services.common.database import open_database
from services.common.errors import Unavailable
from services.common.events import SqliteLog
from services.common.rpc.client import internal_channel
from services.training.app import MIGRATIONS
from services.training.designs import Schedule
from services.training.runs import storage
from services.training.runs.rules import NewRun

ROOT = Path(__file__).parents[3]
MODEL = f"{PROJECT}/models/tone"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Service:
    """The service as a process that can be killed and started again, and a client that waits for it."""

    def __init__(self, world: World, database_url: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self._environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "REGROW_DATA_DIR": str(world.data_dir), "REGROW_INTERNAL_TOKEN": TOKEN,
            "REGROW_TRAINING_ADDRESS": address, "REGROW_LABELING_ADDRESS": world.labeling_address,
            "REGROW_REGISTRY_ADDRESS": world.registry_address, "REGROW_LOG_LEVEL": "WARNING", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        if database_url:
            self._environment["REGROW_DATABASE_URL"] = database_url
        self._log = (world.data_dir / "training.log").open("ab")
        self._channel = internal_channel(address, token=TOKEN, principal=ADA, service="training")
        self.client = Client(self._channel)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.training"], env=self._environment, stderr=self._log, stdin=subprocess.DEVNULL
        )

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._channel.close()
        self._log.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def service(request: pytest.FixtureRequest, own_world: World) -> Iterator[Service]:
    """On SQLite, or on the engine that the test asks for."""
    on_postgres = getattr(request, "param", "sqlite") == "postgresql"
    made = Service(own_world, request.getfixturevalue("postgres_database") if on_postgres else "")
    made.start()
    yield made
    made.close()


def insist(call: Callable[[], Any], seconds: float = 60) -> Any:
    """Asks until the service answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Unavailable:
            assert time.monotonic() < deadline, "the service does not come back"
            time.sleep(0.1)


def until(ask: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := insist(ask)):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
    return answer


def workers_of(data_dir: Path) -> list[int]:
    """Training processes on this data folder that live."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if b"services.training.worker" in words and str(data_dir).encode() in words[-2]:
                found.append(int(place.name))
    return found


def over(client: Client, name: str) -> Any:
    run = client.get(name)
    return run if run.state > runs_pb2.RUN_STATE_RUNNING else None


@pytest.mark.parametrize(
    ("service", "how"),
    [("sqlite", signal.SIGKILL), ("sqlite", signal.SIGTERM), ("postgresql", signal.SIGKILL)],
    indirect=["service"],
)
def test_a_run_goes_on_after_the_service_ended_and_is_registered_once(
    service: Service, own_world: World, how: signal.Signals
) -> None:
    client = service.client
    run = insist(lambda: client.create(MODEL, label_set=SEED, request_id="once"))
    until(lambda: workers_of(own_world.data_dir))
    before = time.monotonic()
    code = service.end(how)
    assert code == (-9 if how is signal.SIGKILL else 0)
    assert time.monotonic() - before < 15
    until(lambda: not workers_of(own_world.data_dir), 20)
    service.start()
    ended = until(lambda: over(client, run.name))
    assert (ended.state, ended.attempts) == (runs_pb2.RUN_STATE_SUCCEEDED, 2), ended.problem
    assert [version.run for version in own_world.versions_of(MODEL)] == [run.name]
    events = client.watched(run.name)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert any("interrupted" in event.message for event in events)
    assert insist(lambda: client.create(MODEL, label_set=SEED, request_id="once")).name == run.name


def test_a_watcher_is_told_to_come_back_when_the_service_stops_and_finds_the_rest(service: Service, own_world: World) -> None:
    client = service.client
    run = insist(lambda: client.create(MODEL, label_set=SEED))
    seen = 0
    with pytest.raises(Unavailable):
        for event in client.runs.WatchRun(runs_pb2.WatchRunRequest(name=run.name)):
            seen = event.sequence
            if event.state == runs_pb2.RUN_STATE_RUNNING:
                assert service.process is not None
                service.process.terminate()
    assert service.process is not None and service.process.wait(30) == 0
    service.start()
    rest = insist(lambda: client.watched(run.name, after=seen))
    assert rest[0].sequence == seen + 1
    assert rest[-1].state == runs_pb2.RUN_STATE_SUCCEEDED


def test_runs_that_were_kept_but_not_queued_are_queued_at_the_next_start(own_world: World) -> None:
    name = f"{PROJECT}/runs/kept"
    database = open_database(f"sqlite:///{own_world.data_dir / 'training.db'}", migrations=MIGRATIONS)
    with database.session() as session:
        storage.add_run(session, NewRun(
            name=name, project="default", label_set=FULL, model=MODEL, problem_spec=f"{PROJECT}/problemSpecs/tone",
            dataset_version=f"{PROJECT}/datasets/reviews/versions/1", template="brew", schedule=Schedule(), seed=1,
            express=False, origin={},
        ))  # fmt: skip
    database.close()
    service = Service(own_world)
    service.start()
    try:
        ended = until(lambda: over(service.client, name))
        assert "There is no model" in ended.problem  # CreateRun makes the model first; this run got as far as registering
    finally:
        service.close()


@pytest.mark.parametrize(("service", "kills"), [("sqlite", 8), ("postgresql", 4)], indirect=["service"])
def test_a_regrowth_survives_kills_at_random_moments_and_promotes_once(service: Service, own_world: World, kills: int) -> None:
    client, chance = service.client, random.Random(11)
    champion = until(lambda: over(client, insist(lambda: client.create(MODEL, label_set=SEED, request_id="first")).name))
    own_world.promote(champion.version)
    own_world.labeling.cut = not_applied_until(3)
    log = SqliteLog(own_world.data_dir / "events.db")
    policy = insist(
        lambda: client.policies.CreatePolicy(
            policies_pb2.CreatePolicyRequest(
                parent=PROJECT,
                policy_id="tone",
                policy=policies_pb2.Policy(model=MODEL, feedback_count=5 * kills),
                request_id="policy",
            )
        )
    )
    for kill in range(kills):
        send_feedback(log, MODEL, [f"e{kill}-{i}" for i in range(5)])
        time.sleep(0.5 + chance.random() * 4)
        service.end(signal.SIGKILL)
        service.start()
    log.close()

    def ended() -> Any:
        found = client.policies.ListRegrowths(policies_pb2.ListRegrowthsRequest(parent=policy.name)).regrowths
        assert len(found) <= 1, "all of the feedback fires it once"
        return found[0] if found and found[0].HasField("end_time") else None

    regrowth = until(ended)
    for _ in range(3):  # and once more, when it is over
        service.end(signal.SIGKILL)
        service.start()
    after = until(ended)
    assert after == regrowth
    assert regrowth.state == policies_pb2.REGROWTH_STATE_PROMOTED, regrowth.decision
    assert f"{5 * kills} new feedback labels" in regrowth.trigger
    assert own_world.champion(MODEL).version == regrowth.challenger
    assert len(own_world.versions_of(MODEL)) == 2
    assert insist(lambda: client.policies.GetPolicy(policies_pb2.GetPolicyRequest(name=policy.name))).pending_feedback == 0


def test_a_batch_prediction_goes_on_after_kills_at_its_last_finished_chunk(service: Service, own_world: World) -> None:
    client, chance = service.client, random.Random(5)
    champion = until(lambda: over(client, insist(lambda: client.create(MODEL, label_set=SEED, request_id="first")).name))
    stub = batch_predictions_pb2_grpc.BatchPredictionServiceStub(client.channel)
    asked = batch_predictions_pb2.CreateBatchPredictionRequest(
        parent=PROJECT, request_id="once",
        batch_prediction=batch_predictions_pb2.BatchPrediction(dataset_version=LARGE, model=champion.version),
    )  # fmt: skip
    name = insist(lambda: stub.CreateBatchPrediction(asked)).name

    def now() -> Any:
        return stub.GetBatchPrediction(batch_predictions_pb2.GetBatchPredictionRequest(name=name))

    done, kills = [0], 0
    while kills < 4:
        wanted = done[-1]
        batch = until(lambda wanted=wanted: (one := now()).rows_done > wanted and one)
        if batch.state > batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING:
            break
        time.sleep(chance.random() * 0.2)
        service.end(signal.SIGKILL)
        kills += 1
        service.start()
        done.append(insist(now).rows_done)
    ended = until(lambda: (one := now()).state > batch_predictions_pb2.BATCH_PREDICTION_STATE_RUNNING and one)
    assert (ended.state, ended.problem) == (batch_predictions_pb2.BATCH_PREDICTION_STATE_SUCCEEDED, "")
    assert kills >= 2 and ended.attempts == kills + 1
    assert done == sorted(done), "no finished row is lost"
    assert ended.rows_done == ended.row_count == LARGE_ROWS
    parts = stub.DownloadBatchPrediction(batch_predictions_pb2.DownloadBatchPredictionRequest(name=name))
    table = pq.read_table(io.BytesIO(b"".join(part.data for part in parts)))
    assert table.column("row").to_pylist() == list(range(LARGE_ROWS))
    assert insist(lambda: stub.CreateBatchPrediction(asked)).name == name
