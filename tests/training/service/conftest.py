"""One world and one training service for the tests of the folder; each test has a model of its own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from training_world import ADA, PROJECT, SEED, TOKEN, Client, World

from services.common.database import Database, open_database
from services.common.rpc.client import internal_channel
from services.common.rpc.server import RunningServer
from services.training.app import MIGRATIONS, start
from services.training.settings import TrainingSettings

_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sqlite = f"sqlite:///{tmp_path / 'training.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    database = open_database(url, migrations=MIGRATIONS)
    yield database
    database.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("training"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def settings(world: World) -> TrainingSettings:
    return TrainingSettings(
        data_dir=world.data_dir, training_address="127.0.0.1:0", labeling_address=world.labeling_address,
        registry_address=world.registry_address, internal_token=TOKEN, drain_seconds=0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def server(settings: TrainingSettings) -> Iterator[RunningServer]:
    server = start(settings)
    yield server
    server.stop(0)


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[Client]:
    channel = internal_channel(f"127.0.0.1:{server.port}", token=TOKEN, principal=ADA, service="training")
    yield Client(channel)
    channel.close()


@pytest.fixture(scope="session")
def trained(client: Client) -> Any:
    """A run on labels that are mostly wrong, once it is over."""
    run = client.create(f"{PROJECT}/models/trained", label_set=SEED, run_id="trained", request_id="trained-1")
    return client.finished(run.name)


@pytest.fixture
def model() -> str:
    return f"{PROJECT}/models/m{next(_numbers)}"
