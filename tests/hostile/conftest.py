"""One running system for all hostile callers, and how much is tried at random."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostile_system import System, running_system
from hostile_values import Effort


def pytest_configure(config: pytest.Config) -> None:
    Effort.times = config.getoption("--fuzz")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture(scope="session")
def fuzz(pytestconfig: pytest.Config) -> int:
    """How many times as many random examples as CI tries; above 1 they are other ones each time."""
    times: int = pytestconfig.getoption("--fuzz")
    return times
