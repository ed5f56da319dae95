"""Many models within a memory budget: what sleeps, what wakes, and what an operator is told."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway_world import RunningGateway, World, tiny_bundle

from services.common.bundle import Bundle
from services.common.errors import FailedPrecondition
from services.common.objects import DirectoryStore
from services.gateway.inference import loading, meters
from services.gateway.inference.aliases import Target
from services.gateway.inference.loading import Loader
from services.gateway.inference.memory import Weight, sensible_budget, spelled_size, total_bytes, weight_of
from services.gateway.settings import GatewaySettings

MIB = 1 << 20
ROW = {"text": "win a free lunch", "length": 16}


class Small:
    """A gateway with room for two models of 8 MiB, and what asks it."""

    def __init__(self, world: World, **changes: Any) -> None:
        self.running = RunningGateway(world.settings(memory_budget_bytes="20MiB", relist_seconds=300.0, **changes))
        secret = self.running.first_key or _SECRETS[0]
        _SECRETS.append(secret)
        self.http = httpx.Client(base_url=self.running.http, headers={"authorization": f"Bearer {secret}"}, timeout=30)

    def predict(self, model: str) -> httpx.Response:
        return self.http.post(f"/v1/{model}:predict", json={"rows": [ROW]})

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get("/v1/status").json()
        return answer

    def stop(self) -> None:
        self.http.close()
        self.running.stop()


_SECRETS: list[str] = []


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def small(own_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Small]]:
    monkeypatch.setattr(loading, "weight_of", lambda *_, **__: Weight(own=8 * MIB, shared={}))
    _SECRETS.clear()
    made: list[Small] = []

    def start(**changes: Any) -> Small:
        made.append(Small(own_world, **changes))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def names(status: dict[str, Any]) -> set[str]:
    return {one["version"].split("/")[3] for one in status["loadedModels"]}


def test_the_model_that_was_called_longest_ago_sleeps_and_its_next_call_wakes_it(small, own_world) -> None:
    gateway = small()
    models = [own_world.champion(name) for name in ("a", "b", "c")]
    for model in models:
        assert gateway.predict(model).status_code == 200
    status = gateway.status()
    assert names(status) == {"b", "c"}
    assert status["sleepingVersions"] == [f"{models[0]}/versions/1"]
    assert (int(status["residentBytes"]), int(status["memoryBudgetBytes"])) == (16 * MIB, 20 * MIB)
    assert gateway.predict(models[1]).status_code == 200
    assert gateway.predict(models[0]).status_code == 200
    assert names(gateway.status()) == {"a", "b"}
    own_world.promote(own_world.version(models[2], good=2.0))
    while not gateway.predict(models[2]).json()["version"].endswith("/2"):
        time.sleep(0.05)


def test_a_start_loads_what_fits_and_leaves_the_rest_asleep_until_it_is_called(small, own_world) -> None:
    models = [own_world.champion(name) for name in ("a", "b", "c", "d")]
    gateway = small()
    status = gateway.status()
    assert len(names(status)) == 2
    assert len(status["sleepingVersions"]) == 2
    for model in models:
        assert gateway.predict(model).status_code == 200


def test_models_that_push_each_other_out_again_and_again_are_told(small, own_world) -> None:
    gateway = small()
    models = [own_world.champion(name) for name in ("a", "b", "c")]
    for _ in range(3):
        for model in models:
            assert gateway.predict(model).status_code == 200
    service = gateway.status()["services"][0]
    assert "push each other out of memory" in service["problem"]
    assert "REGROW_GATEWAY_MEMORY_BUDGET_BYTES" in service["problem"]
    assert service["ready"] is True


@pytest.mark.slow
def test_models_that_are_loaded_called_and_put_to_sleep_at_once_never_answer_for_one_another(
    small, own_world, tmp_path: Path
) -> None:
    gateway = small()
    digests = [tiny_bundle(own_world.objects, good=0.2 * (1 + number)) for number in range(5)]
    models = [own_world.model(f"m{number}") for number in range(5)]
    for model, digest in zip(models, digests, strict=True):
        own_world.promote(own_world.version(model, digest=digest))
    expected = [
        float(Bundle.open(own_world.objects, digest, tmp_path / "own").predict([ROW]).probabilities[0].max())
        for digest in digests
    ]
    assert len({round(one, 3) for one in expected}) == 5

    def call(seed: int) -> list[str]:
        chance, wrong = random.Random(seed), []
        for _ in range(25):
            number = chance.randrange(5)
            answer = gateway.predict(models[number])
            if answer.status_code != 200:
                wrong.append(answer.text)
                continue
            said = answer.json()
            probable = said["predictions"][0]["probabilities"][0]["probability"]
            if said["version"] != f"{models[number]}/versions/1" or abs(probable - expected[number]) > 1e-4:
                wrong.append(f"{models[number]}: {said}")
        return wrong

    before = meters.EVICTIONS._value.get()
    with ThreadPoolExecutor(6) as pool:
        assert [one for each in pool.map(call, range(6)) for one in each] == []
    assert meters.EVICTIONS._value.get() - before > 5
    assert int(gateway.status()["residentBytes"]) <= 20 * MIB


def test_a_call_waits_for_a_sleeping_model_as_long_as_it_may_and_then_hears_when_to_come_back(
    small, own_world, monkeypatch
) -> None:
    gateway = small(load_wait_seconds=0.2)
    models = [own_world.champion(name) for name in ("a", "b", "c")]
    for model in models:
        while gateway.predict(model).status_code != 200:
            pass
    gate, opened = threading.Event(), Loader._open

    def slow(self: Loader, target: Target) -> Any:
        gate.wait(30)
        return opened(self, target)

    monkeypatch.setattr(Loader, "_open", slow)
    waited = gateway.predict(models[0])
    assert (waited.status_code, waited.headers["retry-after"]) == (503, "1")
    assert gateway.predict(models[2]).status_code == 200  # others don't wait with it
    gate.set()
    while (answer := gateway.predict(models[0])).status_code == 503:
        pass
    assert answer.status_code == 200


def test_a_version_whose_files_are_larger_than_the_budget_is_refused_with_both_sizes(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    target = Target(name="projects/p/models/m/versions/1", digest=tiny_bundle(objects))

    async def load() -> None:
        loader = Loader(objects, tmp_path / "cache", budget=100, batch_rows=64)
        try:
            await loader.load(target)
        finally:
            loader.close()

    with pytest.raises(FailedPrecondition, match="all models may take 100 bytes"):
        asyncio.run(load())


def test_a_version_was_tried_on_batches_before_it_answers_so_what_they_take_is_known(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    target = Target(name="projects/p/models/m/versions/1", digest=tiny_bundle(objects))

    async def load() -> loading.Loaded:
        return await Loader(objects, tmp_path / "cache", budget=1 << 30, batch_rows=64).load(target)

    line = asyncio.run(load()).window.line
    assert line is not None and line.known and line.per_row >= 0


def test_what_versions_share_counts_once_and_their_own_parts_each() -> None:
    weights = [Weight(own=10, shared={"encoder": 100}), Weight(own=20, shared={"encoder": 100}), Weight(own=5, shared={})]
    assert total_bytes(weights) == 135


def test_a_version_takes_what_the_process_grew_by_and_its_files_at_least(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    manifest, _ = Bundle.fetch(objects, tiny_bundle(objects), tmp_path / "cache")
    files = sum(part.size for part in manifest.parts)
    assert weight_of(manifest, 0, encoder_is_new=False) == Weight(own=files, shared={})
    assert weight_of(manifest, 3 * MIB, encoder_is_new=True).own == 3 * MIB


def test_what_else_grew_while_a_version_was_opened_is_not_its_own(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path / "objects")
    manifest, _ = Bundle.fetch(objects, tiny_bundle(objects), tmp_path / "cache")
    assert weight_of(manifest, 500 * MIB, encoder_is_new=False).own < 6 * MIB


def test_the_budget_is_read_as_people_write_sizes_and_is_sensible_where_it_isnt_set(tmp_path: Path) -> None:
    assert GatewaySettings(data_dir=tmp_path, memory_budget_bytes="2GiB").memory_budget_bytes == 2 << 30
    assert GatewaySettings(data_dir=tmp_path).memory_budget_bytes == sensible_budget() >= 256 * MIB
    with pytest.raises(ValidationError):
        GatewaySettings(data_dir=tmp_path, memory_budget_bytes="lots")
    assert [spelled_size(size) for size in (100, 3 << 19, 2 << 30)] == ["100 bytes", "1.5 MiB", "2 GiB"]
