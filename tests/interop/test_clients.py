"""The clients that others use, unchanged and in their own process, against a real gateway.

The methods are found by introspection, so one that a later client adds makes the test fail until it is tried or excluded.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "peers"))

from clients import Served, wrong
from environments import COMMAND, is_made, make
from trying import outcomes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    gateway = Served(tmp_path_factory.mktemp("interop"))
    yield gateway
    gateway.stop()


def _present(environment: str) -> None:
    """Triton's clients are small, so they are installed where they aren't there; KServe's come with much else."""
    if is_made(environment):
        return
    if environment == "kserve":
        pytest.skip(f"needs KServe's clients; make them with: {COMMAND} kserve")
    try:
        make(environment)
    except subprocess.CalledProcessError:
        pytest.skip(f"tritonclient can't be installed here; where there is a package index: {COMMAND} triton")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "methods", "excluded"), [("triton", 130, 44), ("kserve", 10, 1)], ids=["tritonclient", "kserve"]
)
def test_every_public_method_works_or_is_excluded_for_a_reason(
    request: pytest.FixtureRequest, environment: str, methods: int, excluded: int
) -> None:
    _present(environment)
    served: Served = request.getfixturevalue("served")
    found = served.tried_by(environment)
    assert not wrong(found), "\n".join(f"{method} {outcome}" for method, outcome in wrong(found).items())
    told = [outcome for methods in found.values() for outcome in methods.values()]
    assert len(told) >= methods and sum(one.startswith("excluded") for one in told) == excluded


class _Client:
    def infer(self) -> None: ...
    def train(self) -> None: ...
    def share(self) -> None: ...
    def close(self) -> None: ...


class _Trial:
    async def try_infer(self) -> None: ...
    async def try_close(self) -> None:
        raise ValueError("it can't")


def test_a_method_that_is_neither_tried_nor_excluded_is_a_failure() -> None:
    async def refused(method: str) -> None:
        assert method == "share"

    found = asyncio.run(outcomes(_Client, _Trial(), {"share": "there is none"}, refused))
    assert (found["infer"], found["train"], found["share"]) == ("passed", "untried", "excluded: there is none")
    assert found["close"].startswith("failed: ") and "it can't" in found["close"]
    assert set(wrong({"client": found})) == {"client.train", "client.close"}


def test_an_excluded_method_that_works_is_a_failure() -> None:
    async def refused(method: str) -> None:
        raise AssertionError(f"{method} was not refused")

    found = asyncio.run(outcomes(_Client, _Trial(), {"share": "there is none", "infer": "no"}, refused))
    assert "not refused" in found["share"] and "both excluded and tried" in found["infer"]
