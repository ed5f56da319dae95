"""From a version to a bundle that answers: fetched, verified, opened, measured and tried, all in threads of its own.

A version takes over only after it has answered batches of several sizes: what is allocated at the first call of a size is
then there, and how long a batch takes is known. These threads have the priority of all others: one of a lower priority that a
busy machine keeps waiting while it holds the interpreter's lock would hold up every call. One version is opened at a time, so
that what the process grows by meanwhile tells what the version takes.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import structlog

from services.common.bundle import Bundle
from services.common.bundle.encoder import Encoder
from services.common.errors import FailedPrecondition
from services.common.objects.port import ObjectStore
from services.gateway.inference import meters
from services.gateway.inference.aliases import Target
from services.gateway.inference.memory import Weight, resident_bytes, spelled_size, weight_of
from services.gateway.inference.pace import Pace
from services.gateway.inference.tally import Tally
from services.gateway.inference.window import Window

_LOADS_AT_ONCE = 2
_LEARNING = 0.2
_WARM_ROWS = (1, 1, 4, 16, 64)
"""The first call allocates what later ones use again; its time says nothing."""
_WARM_SECONDS = 0.1
"""Batches that would take longer aren't tried: they would compete with the calls that are being answered."""

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True, eq=False)
class Loaded:
    """A version in memory. Calls hold it while they run; when the last one ends after a swap, it is freed.

    `weight` is what it takes; `used` orders versions by their last call.
    """

    target: Target
    bundle: Bundle
    example: Mapping[str, object]
    loaded: datetime
    class_of: Mapping[str, int]
    window: Window
    weight: Weight
    predictions: int = field(default=0)
    used: int = field(default=0)
    tally: Tally = field(default_factory=Tally)
    pace: Pace = field(default_factory=Pace)
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
    """Loads each version once, however many ask for it at a time. Belongs to the event loop.

    `budget`: bytes that all versions may take; one whose files alone are larger isn't opened. `batch_rows`: the most rows
    that several calls are computed together with.
    """

    def __init__(self, objects: ObjectStore, cache_dir: Path, *, budget: int, batch_rows: int) -> None:
        self._objects = objects
        self._cache_dir = cache_dir
        self._budget = budget
        self._batch_rows = batch_rows
        self._pool = ThreadPoolExecutor(max_workers=_LOADS_AT_ONCE, thread_name_prefix="load")
        self._opening = threading.Lock()
        self._encoders: weakref.WeakSet[Encoder] = weakref.WeakSet()
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
        manifest, files = Bundle.fetch(self._objects, target.digest, self._cache_dir)
        size = sum(part.size for part in manifest.parts if part.name in files)
        if size > self._budget:
            raise FailedPrecondition(
                f"'{target.name}' has {spelled_size(size)} of files, and all models may take {spelled_size(self._budget)} of"
                " memory. Raise REGROW_GATEWAY_MEMORY_BUDGET_BYTES, or train a smaller design.",
                reason="MODEL_TOO_BIG",
            )
        with self._opening:
            began, before = time.perf_counter(), resident_bytes()
            bundle = Bundle(manifest, files, target.digest)
            example = _example(bundle)
            window = _tried(bundle, example, target, self._batch_rows)
            is_new = any(encoder not in self._encoders for encoder in bundle.encoders)
            self._encoders.update(bundle.encoders)
            weight = weight_of(manifest, resident_bytes() - before, encoder_is_new=is_new)
        log.info("loaded", version=target.name, digest=target.digest, bytes=weight.total, seconds=time.perf_counter() - began)
        return Loaded(
            target=target, bundle=bundle, example=example, loaded=datetime.now(UTC), window=window, weight=weight,
            class_of=bundle.spec.value_to_class(),
        )  # fmt: skip


def _tried(bundle: Bundle, example: Mapping[str, object], target: Target, batch_rows: int) -> Window:
    """Answers batches of several sizes. Raises `FailedPrecondition` where an answer is none."""
    window = Window(most_rows=batch_rows)
    for number, rows in enumerate(_WARM_ROWS):
        if window.seconds(rows) > _WARM_SECONDS:
            break
        cpu = time.thread_time()
        if not np.isfinite(bundle.predict([example] * rows).probabilities).all():
            raise FailedPrecondition(
                f"'{target.name}' answers no probabilities on a row to try it with. Train it again.", reason="BUNDLE_BROKEN"
            )
        if number:
            window.measured(rows, time.thread_time() - cpu, time.monotonic())
    return window


def _example(bundle: Bundle) -> dict[str, object]:
    """A row with a plausible value in every column, from what training learned of the table."""
    row: dict[str, object] = {column.name: _PLAIN.get(column.kind) for column in bundle.manifest.inputs}
    for table in bundle.tables:
        row |= {number.name: float(f"{number.center:.4g}") for number in table.numbers if number.name in row}
        row |= {moment.name: _written(moment.center) for moment in table.moments if moment.name in row}
        row |= {one.name: one.values[0] for one in table.categories if one.name in row and one.values}
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
