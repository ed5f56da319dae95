"""The engines that the contract suites run on.

An engine knows how to open its store or log, here and in a child process: that is all that a suite needs, so another
adapter joins by one more parameter of `store_engine` or `log_engine`. Where two engines must differ, the engine says how.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

import pytest
from real_engines import Minio

from services.common.events import EventLog, SqliteLog
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_log import KafkaLog
from services.common.objects import DirectoryStore, ObjectStore
from services.common.objects.minio_client import S3Address
from services.common.objects.minio_store import MinioStore

Opened = TypeVar("Opened")
ROOT = Path(__file__).parents[2]
LEASE = timedelta(seconds=0.7)
KAFKA_LEASE = timedelta(seconds=float(os.environ.get("REGROW_TEST_KAFKA_LEASE", "1.5")))
"""Brokers take no less than 6 s unless `group.min.session.timeout.ms` says so, as it does for the broker of the tests."""


@dataclass(frozen=True, kw_only=True)
class Engine(Generic[Opened]):
    """`open` opens it in this process; `source` is Python that opens it as `engine` in a child.

    `lease` is how long a dead member of a group keeps its partitions. `atomic` is whether a batch is there whole or not at
    all even where its writer was killed. `polls` is how many polls a partition may wait beside one that has 300 records.
    """

    open: Callable[[], Opened]
    source: str
    lease: timedelta = LEASE
    atomic: bool = True
    polls: int = 4
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def child(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """Runs `script` in a process of its own, with `engine` and `sys` at hand; ended with the test."""
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys\n{self.source}\n{script}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.children.append(process)
        return process

    def end_children(self) -> None:
        """Ends what a failed test left running."""
        for child in self.children:
            child.kill()
            child.communicate()


def directory_store(folder: Path) -> Engine[ObjectStore]:
    root = folder / "objects"
    source = (
        "from pathlib import Path\nfrom services.common.objects import DirectoryStore\n"
        f"engine = DirectoryStore(Path({str(root)!r}))"
    )
    return Engine(open=lambda: DirectoryStore(root), source=source)


def sqlite_log(folder: Path) -> Engine[EventLog]:
    path = folder / "events.db"
    source = (
        "from datetime import timedelta\nfrom pathlib import Path\nfrom services.common.events import *\n"
        f"engine = SqliteLog(Path({str(path)!r}), lease=timedelta(seconds={LEASE.total_seconds()}))"
    )
    return Engine(open=lambda: SqliteLog(path, lease=LEASE), source=source)


def minio_store(folder: Path, server: Minio) -> Engine[ObjectStore]:
    arguments = {"endpoint": server.endpoint, "access_key": server.access_key, "secret_key": server.secret_key}
    prefix, spool = f"t{secrets.token_hex(6)}-", folder / "spool"
    source = (
        "from pathlib import Path\nfrom services.common.objects.minio_client import S3Address\n"
        "from services.common.objects.minio_store import MinioStore\n"
        f"engine = MinioStore(S3Address(**{arguments!r}), spool_dir=Path({str(spool)!r}), bucket_prefix={prefix!r})"
    )
    return Engine(open=lambda: MinioStore(S3Address(**arguments), spool_dir=spool, bucket_prefix=prefix), source=source)


def kafka_log(bootstrap: str) -> Engine[EventLog]:
    """On topics and groups of its own."""
    access = KafkaAccess(bootstrap=bootstrap, prefix=f"test-{secrets.token_hex(6)}.")
    lease = KAFKA_LEASE.total_seconds()
    source = (
        "from datetime import timedelta\nfrom services.common.events import *\n"
        "from services.common.events.kafka_access import KafkaAccess\nfrom services.common.events.kafka_log import KafkaLog\n"
        f"engine = KafkaLog(KafkaAccess(bootstrap={bootstrap!r}, prefix={access.prefix!r}), lease=timedelta(seconds={lease}))"
    )
    patience = timedelta(seconds=0.5)  # a second member of the same thread can't get a seat before the first one polls
    return Engine(
        open=lambda: KafkaLog(access, lease=KAFKA_LEASE, seat_patience=patience),
        source=source,
        lease=KAFKA_LEASE,
        atomic=False,
        polls=40,
    )


@pytest.fixture(params=["directory", pytest.param("minio", marks=pytest.mark.slow)])
def store_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine[ObjectStore]]:
    if request.param == "directory":
        engine = directory_store(tmp_path)
    else:
        engine = minio_store(tmp_path, request.getfixturevalue("minio"))
    yield engine
    engine.end_children()


@pytest.fixture
def store(store_engine: Engine[ObjectStore]) -> ObjectStore:
    return store_engine.open()


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.slow)])
def log_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine[EventLog]]:
    engine = sqlite_log(tmp_path) if request.param == "sqlite" else kafka_log(request.getfixturevalue("kafka"))
    yield engine
    engine.end_children()


@pytest.fixture
def log(log_engine: Engine[EventLog]) -> Iterator[EventLog]:
    opened = log_engine.open()
    opened.ensure_topics()
    yield opened
    opened.close()
