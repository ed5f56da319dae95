"""What callers see while a model is swapped: failures and latency, beside the same load without a swap.

    python benchmarks/hot_swap.py [--kinds dense terms encoder] [--seconds 5] [--rounds 5]     about 3 minutes

A client in a process of its own asks at a fixed rate, which keeps an eighth of a core busy at most, whatever the answers do,
and never repeats a call; latency counts from the moment when a request was due. Rounds without and with swaps take turns, so
that what else the machine does falls on both. In a round with swaps the champion moves to a version that the gateway has never
seen, every 1.5 seconds: it is fetched, verified, opened and tried on batches beside the version that answers. "During" is from
the moment an alias is moved until half a second after the first answer of the new version; "after" is the rest of a round from
its first swap on. "Stale" are requests sent after an answer of a newer version had come, and yet answered by an older one.

The promise of each kind: nothing fails, nothing is stale, and the p99 during swaps is below twice that before. Ends with 1
where it wasn't kept.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from gateway import first_key, process
from open_loop import Answer, OpenLoop, verdict
from serving_models import BUNDLES, row_of

from gateway_world import World  # isort: skip
from regrow.registry.v1 import registry_pb2 as reg

RATES = {"dense": 100.0, "terms": 100.0, "encoder": 20.0}
"""Requests a second of each kind, unless `--rate` says otherwise."""
HTTP, ADDRESS = 18973, "127.0.0.1:18974"
EVERY_SECONDS, AFTER_SECONDS, ROWS = 1.5, 0.5, 200


@dataclass(frozen=True, slots=True)
class Given:
    """What is measured. `rate` in requests a second; `seconds` of a round."""

    kinds: list[str]
    rate: float | None
    seconds: float
    rounds: int
    folder: Path

    def rate_of(self, kind: str) -> float:
        """Requests a second."""
        return self.rate or RATES[kind]


@dataclass(slots=True)
class Round:
    """The answers of a round, and when (on the answers' clock) an alias was moved to which version."""

    answers: list[Answer]
    moved: list[tuple[float, int]] = field(default_factory=list)

    def during(self) -> list[Answer]:
        """Answers to requests that were due during a swap."""
        spans = self._spans()
        return [one for one in self.answers if any(start <= one.due <= end for start, end in spans)]

    def after(self) -> list[Answer]:
        """Answers to requests that were due when a swap was over and the next hadn't begun."""
        spans = self._spans()
        first = min((end for _, end in spans), default=float("inf"))
        return [one for one in self.answers if one.due > first and not any(start <= one.due <= end for start, end in spans)]

    def _spans(self) -> list[tuple[float, float]]:
        spans = []
        for at, version in self.moved:
            first = min((one.done for one in self.answers if one.version == version), default=at + EVERY_SECONDS)
            spans.append((at, first + AFTER_SECONDS))
        return spans


def drive(address: str, key: str, model: str, kind: str, rate: float, seconds: float, started: float) -> list[Answer]:
    """In a process of its own: asks for so many seconds; times count from `started` (wall clock)."""
    gc.collect()
    gc.freeze()  # a collection of all that was imported would stop this process for 90 ms, and be told of the gateway
    with OpenLoop(address, key, model, [row_of(kind, n) for n in range(ROWS)], per_second=rate) as loop:
        begun = time.time()
        time.sleep(seconds)
    offset = begun - started
    return [
        Answer(due=one.due + offset, sent=one.sent + offset, done=one.done + offset, version=one.version, problem=one.problem)
        for one in loop.answers
    ]


async def rounds(world: World, model: str, kind: str, versions: Iterator[str], given: Given, key: str) -> list[Round]:
    """Without and with swaps in turn."""
    loop, found, rate = asyncio.get_running_loop(), list[Round](), given.rate_of(kind)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        await loop.run_in_executor(pool, drive, ADDRESS, key, model, kind, rate, 1.0, time.time())  # nothing counts yet
        for number in range(2 * given.rounds):
            started, moved = time.time(), list[tuple[float, int]]()
            driving = loop.run_in_executor(pool, drive, ADDRESS, key, model, kind, rate, given.seconds, started)
            while number % 2 and time.time() - started < given.seconds - 2 * EVERY_SECONDS + 0.1:
                await asyncio.sleep(EVERY_SECONDS)
                version = next(versions)
                moved.append((time.time() - started, int(version.rpartition("/")[2])))
                await asyncio.to_thread(world.promote, version)
            found.append(Round(answers=await driving, moved=moved))
    return found


def told(name: str, answers: list[Answer], base: tuple[float, float] | None = None) -> tuple[float, float]:
    """Prints a line; answers p50 and p99 in milliseconds."""
    latencies = 1e3 * np.array([one.latency for one in answers if not one.problem] or [0.0])
    failed, versions = sum(bool(one.problem) for one in answers), len({one.version for one in answers if one.version})
    p50, p99 = float(np.quantile(latencies, 0.5)), float(np.quantile(latencies, 0.99))
    ratios = f"{p50 / base[0]:11.2f}{p99 / base[1]:11.2f}" if base else ""
    print(f"{name:18}{len(answers):9,}{failed:8}{versions:10}{p50:9.2f}{p99:9.2f}{latencies.max():10.1f}{ratios}")
    return p50, p99


async def measured(world: World, kind: str, given: Given, key: str) -> bool:
    """Prints the table of one kind; answers whether the promise was kept."""
    model, swaps = world.model(f"swapped-{kind}"), int(given.seconds / EVERY_SECONDS) + 1
    versions = []
    for number in range(1 + given.rounds * swaps):
        digest = BUNDLES[kind](world.objects, number, given.folder / "made")
        request = reg.CreateVersionRequest(parent=model, version=reg.Version(bundle_digest=digest))
        versions.append(world.versions.CreateVersion(request).name)
    world.promote(versions[0])
    found = await rounds(world, model, kind, iter(versions[1:]), given, key)
    quiet, swapped = found[0::2], found[1::2]
    title = f"{kind}, {given.rate_of(kind):g}/s"
    print(f"\n{title:18}requests  failed  versions   p50 ms   p99 ms  worst ms  p50 ratio  p99 ratio")
    base = told("before: no swap", [one for each in quiet for one in each.answers])
    _, p99 = told("during a swap", [one for each in swapped for one in each.during()], base)
    told("after it", [one for each in swapped for one in each.after()], base)
    verdicts = [verdict(each.answers) for each in swapped]
    failures = [problem for each in found for problem in verdict(each.answers).failures]
    stale, seen = sum(one.stale for one in verdicts), sum(len(one.versions) for one in verdicts)
    kept = not failures and not stale and 0 < p99 < 2 * base[1]  # 0: no swap was made, or nobody called during one
    print(
        f"{'PASS' if kept else 'FAIL'}: {sum(len(each.moved) for each in found)} swaps, {seen} versions seen in"
        f" {len(swapped)} rounds, {len(failures)} failed, {stale} stale, p99 during / before {p99 / base[1]:.2f} (below 2)"
    )
    for problem, count in Counter(failures).most_common(3):
        print(f"  {count} x {problem}")
    return kept


async def run(given: Given) -> bool:
    """Answers whether the promise was kept for every kind."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    world = World(given.folder)
    key = first_key(world)
    environment = world.environment(gateway_http_address=f"127.0.0.1:{HTTP}", gateway_grpc_address=ADDRESS)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    try:
        async with process(["-m", "services.gateway"], environment | {"REGROW_LOG_LEVEL": "WARNING"}, HTTP):
            kept = [await measured(world, kind, given, key) for kind in given.kinds]
    finally:
        world.stop()
    return all(kept)


def main() -> None:
    """Ends with 1 where the promise wasn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=sorted(BUNDLES), default=["dense", "terms", "encoder"])
    parser.add_argument("--rate", type=float, help="requests a second; default: by kind")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = Given(asked.kinds, asked.rate, asked.seconds, asked.rounds, Path(folder))
        raise SystemExit(0 if asyncio.run(run(given)) else 1)


if __name__ == "__main__":
    main()
