"""One system of four real services for a module's tests; the demo's steps and the benchmarks' open loop are what they use.

The engines are embedded unless a test asks for others by the parameter of `engines`: settings are all that differs.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from real_engines import new_database

from regrow import Client
from regrow.local import Local

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "benchmarks")]


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """The settings that choose the engines named by the parameter, such as `kafka+minio`; each is empty at the start."""
    named = getattr(request, "param", "embedded").split("+")
    prefix, settings = f"e2e-{secrets.token_hex(4)}-", {}
    with ExitStack() as until_then:
        if "kafka" in named:
            settings |= {"REGROW_KAFKA_BOOTSTRAP": request.getfixturevalue("kafka"), "REGROW_KAFKA_TOPIC_PREFIX": prefix}
        if "minio" in named:
            minio = request.getfixturevalue("minio")
            settings |= {
                "REGROW_MINIO_ENDPOINT": minio.endpoint, "REGROW_MINIO_ACCESS_KEY": minio.access_key,
                "REGROW_MINIO_SECRET_KEY": minio.secret_key, "REGROW_MINIO_BUCKET_PREFIX": prefix,
                "REGROW_MINIO_PUBLIC_ENDPOINT": minio.endpoint,
            }  # fmt: skip
        if "postgres" in named:
            database = until_then.enter_context(new_database(request.getfixturevalue("postgres")))
            settings["REGROW_DATABASE_URL"] = database
        yield settings


@pytest.fixture(scope="module")
def local(engines: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with Local(data=tmp_path_factory.mktemp("data"), free_ports=True, settings=engines) as running:
        yield running


@pytest.fixture(scope="module")
def client(local: Local) -> Iterator[Client]:
    with Client(local.grpc_address, local.admin_key) as connected:
        yield connected
