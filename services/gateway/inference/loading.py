"""From a version to a bundle that answers: fetched, verified, opened and tried on a row, all in threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import structlog

from services.common.bundle import Bundle
from services.common.bundle.parts import cached_part
from services.common.bundle.table import Table
from services.common.errors import FailedPrecondition
from services.common.objects.port import ObjectStore
from services.gateway.inference import meters
from services.gateway.inference.aliases import Target

_LOADS_AT_ONCE = 2
_LEARNING = 0.2

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Loaded:
    """A version in memory. Calls hold it while they run; when the last one ends after a swap, it is freed."""

    target: Target
    bundle: Bundle
    example: Mapping[str, object]
    loaded: datetime
    class_of: Mapping[str, int]
    predictions: int = field(default=0)
    seconds_per_byte: float | None = field(default=None)

    def expected_seconds(self, size: int) -> float | None:
        """CPU time that a request of `size` bytes will take, from those before it; None before the first."""
        return None if self.seconds_per_byte is None else self.seconds_per_byte * size

    def took(self, seconds: float, size: int) -> None:
        """Learns from a prediction, bit by bit."""
        rate = seconds / max(size, 1)
        known = self.seconds_per_byte
        self.seconds_per_byte = rate if known is None else known + _LEARNING * (rate - known)


class Loader:
    """Loads each version once, however many ask for it at a time. Belongs to the event loop."""

    def __init__(self, objects: ObjectStore, cache_dir: Path) -> None:
        self._objects = objects
        self._cache_dir = cache_dir
        self._pool = ThreadPoolExecutor(max_workers=_LOADS_AT_ONCE, thread_name_prefix="load")
        self._running: dict[str, asyncio.Task[Loaded]] = {}

    def load(self, target: Target) -> asyncio.Task[Loaded]:
        """The task that loads; wait for it behind `asyncio.shield`, since others may wait too."""
        task = self._running.get(target.name)
        if task is None:
            task = asyncio.ensure_future(self._load(target))
            self._running[target.name] = task
            task.add_done_callback(lambda done: self._ended(target, done))
        return task

    def close(self) -> None:
        """Lets running loads end by themselves, and starts none."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self, target: Target) -> Loaded:
        with meters.LOAD_SECONDS.time():
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._open, target)

    def _ended(self, target: Target, task: asyncio.Task[Loaded]) -> None:
        self._running.pop(target.name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning(
                "a version can't be loaded", version=target.name, problem=getattr(error, "message", type(error).__name__)
            )

    def _open(self, target: Target) -> Loaded:
        bundle = Bundle.open(self._objects, target.digest, self._cache_dir)
        example = self._example(bundle)
        answered = bundle.predict([example]).probabilities
        if not np.isfinite(answered).all():
            raise FailedPrecondition(
                f"'{target.name}' answers no probabilities on a row to try it with. Train it again.", reason="BUNDLE_BROKEN"
            )
        log.info("loaded", version=target.name, digest=target.digest)
        return Loaded(
            target=target, bundle=bundle, example=example, loaded=datetime.now(UTC), class_of=bundle.spec.value_to_class()
        )

    def _example(self, bundle: Bundle) -> dict[str, object]:
        """A row with a plausible value in every column, from what training learned of the table."""
        row: dict[str, object] = {column.name: _PLAIN.get(column.kind) for column in bundle.manifest.inputs}
        for reader in bundle.manifest.readers:
            if reader.kind != "table":
                continue
            part = bundle.manifest.part(reader.parts[0])
            table = Table.from_json(cached_part(self._objects, part, self._cache_dir).read_bytes())
            row |= {number.name: float(f"{number.center:.4g}") for number in table.numbers if number.name in row}
            row |= {moment.name: _written(moment.center) for moment in table.moments if moment.name in row}
            row |= {
                category.name: category.values[0] for category in table.categories if category.name in row and category.values
            }
        booleans = {column.name for column in bundle.manifest.inputs if column.kind == "boolean"}
        return {name: True if name in booleans else value for name, value in row.items()}


_PLAIN: dict[str, object] = {
    "text": "Write a text here.",
    "numeric": 1.0,
    "categorical": "",
    "datetime": "2026-01-01T00:00:00Z",
}


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds), UTC).isoformat().replace("+00:00", "Z")
