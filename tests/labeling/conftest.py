"""Labeling without its server: real database, object store and event log in a folder, and a small data set with a spec.

In the slow suite the tests of what writes rows run on PostgreSQL too; label sets and labelers write objects above all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from real_engines import new_database

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
    url: str
    database: Database
    objects: DirectoryStore
    log: SqliteLog
    datasets: Datasets
    dataset: str = DATASET
    spec: str = SPEC
    human: str = f"{SHOP}/labelers/people"
    crowd: str = f"{SHOP}/labelers/crowd"


@dataclass(frozen=True)
class Template:
    """What each test gets a copy of: a folder, and a database on the server where there is one."""

    folder: Path
    server: str = ""
    database: str = ""

    @contextmanager
    def copied(self, folder: Path) -> Iterator[str]:
        """Copies the folder there; answers the URL of the copied database."""
        shutil.copytree(self.folder, folder)
        if not self.server:
            yield _sqlite(folder)
            return
        with new_database(self.server, template=self.database) as url:
            yield url


WRITES_ROWS = {"annotation", "datasets", "feedback", "specs", "votes"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "template" in metafunc.fixturenames:
        postgresql = [pytest.param("postgresql", marks=pytest.mark.slow)] * (
            metafunc.definition.path.parent.name in WRITES_ROWS
        )
        metafunc.parametrize("template", ["sqlite", *postgresql], indirect=True, scope="session")


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """The data set, the spec and the labelers, made once."""
    folder = tmp_path_factory.mktemp("labeling-template")
    if request.param == "sqlite":
        _fill(folder, _sqlite(folder))
        yield Template(folder)
        return
    server = request.getfixturevalue("postgres")
    with new_database(server) as url:
        _fill(folder, url)
        yield Template(folder, server, str(sa.make_url(url).database))


def _fill(folder: Path, url: str) -> None:
    database, objects, log, datasets = _opened(folder, url)
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
    log.close()
    database.close()


@pytest.fixture
def world(template: Template, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "world"
    with template.copied(folder) as url:
        database, objects, log, datasets = _opened(folder, url)
        yield World(folder, url, database, objects, log, datasets)
        log.close()
        database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = _sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    database = open_database(url, migrations=app.MIGRATIONS)
    yield database
    database.close()


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'labeling.db'}"


def _opened(folder: Path, url: str) -> tuple[Database, DirectoryStore, SqliteLog, Datasets]:
    database = open_database(url, migrations=app.MIGRATIONS)
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
