"""Labeling without its server: real database, object store and event log in a folder, and a small data set with a spec."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.database import Database, open_database
from services.common.events import SqliteLog
from services.common.frames.importing import Wish
from services.common.frames.kinds import Kind
from services.common.objects import DirectoryStore
from services.common.spec import ClassDefinition, Metric, ProblemSpec
from services.labeling import app
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.intake import ImportOrder
from services.labeling.labelers.handlers import Labeler, Labelers
from services.labeling.labelers.rules import Human, Imported
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft

SHOP = "projects/shop"
DATASET = f"{SHOP}/datasets/comments"
SPEC = f"{SHOP}/problemSpecs/spam"
ROWS = 60


@dataclass(frozen=True)
class World:
    """What a labeling process stands on, and the names in it."""

    folder: Path
    database: Database
    objects: DirectoryStore
    log: SqliteLog
    datasets: Datasets
    dataset: str = DATASET
    spec: str = SPEC
    human: str = f"{SHOP}/labelers/people"
    crowd: str = f"{SHOP}/labelers/crowd"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the data set, the spec and the labelers are made, to be copied by each test."""
    folder = tmp_path_factory.mktemp("labeling-template")
    database, objects, log, datasets = _opened(folder)
    _fill(database, objects, datasets)
    log.close()
    database.close()
    return folder


def _fill(database: Database, objects: DirectoryStore, datasets: Datasets) -> None:
    """The data set, its spec and two labelers."""
    order = ImportOrder(
        parent=SHOP,
        dataset_id="comments",
        wish=Wish(kinds={"comment": Kind.TEXT, "likes": Kind.NUMERIC, "label": Kind.CATEGORICAL}),
    )
    datasets.import_file(order, [_table()])
    classes = (ClassDefinition(name="ham", source_values=("0",)), ClassDefinition(name="spam", source_values=("1",)))
    spec = ProblemSpec(name="", dataset=DATASET, classes=classes, target_column="label", inputs=(), metric=Metric.MACRO_F1)
    Specs(database, objects).create(SHOP, "spam", Draft(spec=spec))
    labelers = Labelers(database, objects)
    labelers.create(SHOP, "people", Labeler(name="", problem_spec=SPEC, definition=Human(gold=True)))
    labelers.create(SHOP, "crowd", Labeler(name="", problem_spec=SPEC, definition=Imported(origin="a crowd")))


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "world"
    shutil.copytree(template, folder)
    database, objects, log, datasets = _opened(folder)
    yield World(folder, database, objects, log, datasets)
    log.close()
    database.close()


@pytest.fixture
def postgres_world(tmp_path: Path, postgres_database: str) -> Iterator[World]:
    """The same with its database on PostgreSQL."""
    folder = tmp_path / "postgres-world"
    database, objects, log, datasets = _opened(folder, postgres_database)
    _fill(database, objects, datasets)
    yield World(folder, database, objects, log, datasets)
    log.close()
    database.close()


def _opened(folder: Path, url: str = "") -> tuple[Database, DirectoryStore, SqliteLog, Datasets]:
    """What lies in the folder; the database at `url`, else in the folder too."""
    database = open_database(url or f"sqlite:///{folder / 'labeling.db'}", migrations=app.MIGRATIONS)
    objects, log = DirectoryStore(folder / "objects"), SqliteLog(folder / "events.db")
    log.ensure_topics()
    return database, objects, log, Datasets(database, objects, folder / "scratch")


def _table() -> bytes:
    lines = ["comment,likes,posted,label"]
    for i in range(ROWS):
        spam = i % 3 == 0
        text = f"win free money now {i}" if spam else f"what a lovely song number {i}"
        lines.append(f"{text},{i},2026-01-{i % 28 + 1:02d},{('1' if spam else '0') if i < 40 else ''}")
    return "\n".join(lines).encode()
