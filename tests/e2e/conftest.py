"""One system of four real services for all tests here; the demo's steps and the benchmarks' open loop are what they use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow import Client
from regrow.local import Local

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "benchmarks")]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with Local(data=tmp_path_factory.mktemp("data"), free_ports=True) as running:
        yield running


@pytest.fixture(scope="module")
def client(local: Local) -> Iterator[Client]:
    with Client(local.grpc_address, local.admin_key) as connected:
        yield connected
