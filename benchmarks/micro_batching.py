"""Calls for one version computed together or each alone: what the window is fitted to, what it chooses, and what that brings.

    python benchmarks/micro_batching.py [--kinds terms dense encoder] [--seconds 2]     about 2 minutes

First each model is measured alone: batches of 1 to 64 rows, and the line `t = a*n + b` through them. From it follows how many
rows a batch is worth (while `b` is more than a twentieth of the batch) and how long a call may wait for another (never longer
than `b`). Then the gateway's own queue and threads answer 1, 4, 16 and 64 callers at a time, each of whom asks for one row
again when it has its answer, without batches (`batch_rows=1`) and with them, in turn. All of it runs in this process, without
the network, so the rates are those of the computing alone (calls of models that take under half a millisecond, which the
gateway computes on its event loop, are in benchmarks/gateway.py). Each answer is compared with the one that its row has alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import uvloop
from serving_models import BUNDLES, row_of

from regrow.rows import struct
from services.common.bundle import Bundle
from services.common.objects import DirectoryStore
from services.gateway.inference.aliases import Target
from services.gateway.inference.batching import Batches
from services.gateway.inference.loading import Loaded
from services.gateway.inference.memory import Weight
from services.gateway.inference.rows import StructRows
from services.gateway.inference.window import Window

SIZES, REPEATS, CALLERS = (1, 2, 4, 8, 16, 32, 64), 5, (1, 4, 16, 64)
MOST_ROWS, THREADS, ROWS, TURNS = 64, 2, 200, 2
CLOSE = 1e-4


@dataclass(slots=True)
class Round:
    """What callers saw: seconds of each call, of all, of CPU, and answers that were another row's."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    wrong: int = 0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Of the latencies, in milliseconds."""
        return 1e3 * float(np.quantile(self.latencies, share))


@dataclass(frozen=True, slots=True)
class Model:
    """A version and rows for it, with the probabilities that each row has alone, `(rows, classes)`."""

    bundle: Bundle
    rows: list[dict[str, object]]
    calls: list[StructRows]
    alone: npt.NDArray[np.float32]


def fitted(model: Model, most_rows: int, *, tell: bool = False) -> Window:
    """A window that knows what batches take."""
    window, took = Window(most_rows=most_rows), dict[int, list[float]]()
    for size in SIZES * (1 + REPEATS):
        cpu = time.thread_time()
        model.bundle.predict(model.rows[:size])
        took.setdefault(size, []).append(time.thread_time() - cpu)
    for size, seconds in took.items():
        for one in seconds[1:]:  # the first of a size allocates what the others use again
            window.measured(size, one, time.monotonic())
    if tell:
        show(window, took)
    return window


def show(window: Window, took: Mapping[int, list[float]]) -> None:
    """Prints what was measured, beside the line through it."""
    line = window.line
    assert line is not None
    print(f"  {'rows':>8}{'ms':>10}{'line ms':>10}{'ms a row':>10}")
    for size, seconds in took.items():
        median = 1e3 * statistics.median(seconds[1:])
        print(f"  {size:8}{median:10.3f}{1e3 * window.seconds(size):10.3f}{median / size:10.3f}")
    print(
        f"  t = {1e3 * line.per_row:.4f} ms * n + {1e3 * line.fixed:.4f} ms: a batch is worth up to {window.rows()} rows, and a"
        f" wait of {1e3 * max(0.0, line.fixed):.3f} ms at most"
    )


async def asked(model: Model, window: Window, callers: int, seconds: float, into: Round) -> None:
    """So many callers, each with one call at a time."""
    loaded = Loaded(
        target=Target(name="projects/p/models/m/versions/1", digest=model.bundle.digest), bundle=model.bundle, example={},
        loaded=datetime.now(UTC), class_of={}, window=window, weight=Weight(own=0, shared={}),
    )  # fmt: skip
    batches = Batches(threads=THREADS, backlog=1_000, per_model=THREADS)
    numbers, cpu, began = itertools.count(), time.process_time(), time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - began < seconds:
            number, start = next(numbers) % len(model.calls), time.perf_counter()
            answer = await batches.compute(loaded, model.calls[number], deadline=None)
            into.latencies.append(time.perf_counter() - start)
            into.wrong += not np.allclose(answer.probabilities[0], model.alone[number], atol=CLOSE)

    await asyncio.gather(*(caller() for _ in range(callers)))
    into.seconds += time.perf_counter() - began
    into.cpu += time.process_time() - cpu
    batches.close()


def compared(model: Model, seconds: float) -> int:
    """Prints rates without and with batches; answers how many answers were wrong."""
    print(f"  {'callers':>8}{'':14}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'rate ratio':>12}{'p99 ratio':>11}")
    wrong = 0
    for callers in CALLERS:
        alone, together = Round(), Round()
        for _ in range(TURNS):
            uvloop.run(asked(model, fitted(model, 1), callers, seconds / TURNS, alone))
            uvloop.run(asked(model, fitted(model, MOST_ROWS), callers, seconds / TURNS, together))
        for name, one in (("each alone", alone), ("in batches", together)):
            ratios = f"{one.rate / alone.rate:12.2f}{one.quantile(0.99) / alone.quantile(0.99):11.2f}"
            figures = (
                f"{one.rate:10,.0f}{one.quantile(0.5):9.2f}{one.quantile(0.99):9.2f}{1e6 * one.cpu / len(one.latencies):9.0f}"
            )
            print(f"  {callers:8}  {name:12}{figures}{ratios}")
            wrong += one.wrong
    return wrong


def main() -> None:
    """Ends with 1 where an answer was another one's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=sorted(BUNDLES), default=["terms", "dense", "encoder"])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line of the tables")
    given, wrong = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as folder:
        objects = DirectoryStore(Path(folder) / "objects")
        for kind in given.kinds:
            digest = BUNDLES[kind](objects, 1, Path(folder) / "made")
            bundle, rows = Bundle.open(objects, digest, Path(folder) / "cache"), [row_of(kind, n) for n in range(ROWS)]
            calls = [StructRows([made], made.ByteSize()) for made in map(struct, rows)]
            model = Model(bundle, rows, calls, np.concatenate([bundle.predict([row]).probabilities for row in rows]))
            print(f"{kind}:")
            fitted(model, MOST_ROWS, tell=True)
            wrong += compared(model, given.seconds)
    print(f"{wrong} wrong answers")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
