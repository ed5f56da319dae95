"""One world and one gateway for all tests of the folder; each test makes its own models and keys."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gateway_world import RunningGateway, World

Call = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("gateway"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def gateway(world: World) -> Iterator[RunningGateway]:
    running = RunningGateway(world.settings(max_body_bytes=4 << 20, max_upload_bytes=64 << 20, relist_seconds=300.0))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def admin(gateway: RunningGateway) -> str:
    assert gateway.first_key is not None
    return gateway.first_key


@pytest.fixture(scope="session")
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.http, timeout=20) as client:
        yield client


@pytest.fixture
def call(http: httpx.Client, admin: str) -> Call:
    """`call("GET", path, key=...)`: a call with a key, the admin's unless told."""

    def ask(verb: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or admin}", **options.pop("headers", {})}
        return http.request(verb, path, headers=headers, **options)

    return ask


@pytest.fixture
def new_key(call: Call) -> Callable[..., str]:
    """The secret of a new key."""

    def make(role: str, *projects: str, name: str = "a key of a test") -> str:
        body = {"role": role, "projects": [f"projects/{project}" for project in projects], "displayName": name}
        answer = call("POST", "/v1/keys", json=body)
        assert answer.status_code == 200, answer.text
        secret: str = answer.json()["secret"]
        return secret

    return make


@pytest.fixture
def error() -> Callable[[httpx.Response], dict[str, Any]]:
    """The error in an answer, with its reason, its wrong fields and when to come back."""

    def read(answer: httpx.Response) -> dict[str, Any]:
        found: dict[str, Any] = answer.json()["error"]
        for detail in found["details"]:
            kind = detail["@type"].rpartition(".")[2]
            if kind == "ErrorInfo":
                found["reason"] = detail["reason"]
            if kind == "BadRequest":
                found["fields"] = {one["field"]: one["description"] for one in detail["fieldViolations"]}
            if kind == "RetryInfo":
                found["retry"] = detail["retryDelay"]
        return found

    return read
