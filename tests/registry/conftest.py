"""A registry on real engines, a fresh one for each test. On PostgreSQL too."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.common.database import Database, open_database
from services.common.events import SqliteLog
from services.common.objects import MODELS, DirectoryStore, ObjectStore
from services.registry.app import MIGRATIONS
from services.registry.handlers import Registry
from services.registry.models import NewVersion

StoreBundle = Callable[..., str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        f"sqlite:///{tmp_path / 'registry.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    )


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url, migrations=MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return DirectoryStore(tmp_path / "objects")


@pytest.fixture
def events(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "events.db")
    log.ensure_topics()
    yield log
    log.close()


@pytest.fixture
def registry(database: Database, objects: ObjectStore) -> Registry:
    """With project `shop` and model `tone` in it."""
    registry = Registry(database, objects)
    registry.create_project("shop", "")
    registry.create_model("projects/shop", "tone", "")
    return registry


@pytest.fixture
def store_bundle(objects: ObjectStore) -> StoreBundle:
    """Stores a bundle of the given parts; answers its digest. `listed` overrides what the manifest says of them."""

    def put(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        objects.put(MODELS, f"sha256/{digest}", content)
        return f"sha256:{digest}"

    def store(listed: list[dict[str, object]] | None = None, /, **parts: bytes) -> str:
        named = parts or {"graph.onnx": b"graph"}
        written = [{"name": name, "digest": put(content), "size": len(content)} for name, content in named.items()]
        return put(json.dumps({"format": 1, "parts": written if listed is None else listed}).encode())

    return store


@pytest.fixture
def new_version(store_bundle: StoreBundle) -> Callable[..., NewVersion]:
    """A version ready to be registered."""

    def make(**parts: bytes) -> NewVersion:
        return NewVersion(bundle_digest=store_bundle(**parts), run="", receipt="{}", scores={})

    return make
