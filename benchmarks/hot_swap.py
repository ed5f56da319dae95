"""What callers see while a model is swapped: failures and latency, beside the same load without a swap.

    python benchmarks/hot_swap.py [--kind dense] [--rate 50] [--seconds 5] [--rounds 4]

A client in a process of its own asks at a fixed rate, whatever the answers do, and never repeats a call; latency counts
from the moment when a request was due. Rounds without and with swaps take turns, so that what else the machine does falls on
both. In a round with swaps the champion moves to a version that the gateway has never seen, every 1.5 seconds: it is fetched,
verified, opened and tried on batches beside the version that answers. "During" is from the moment an alias is moved until half
a second after the first answer of the new version.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gateway import first_key, process
from open_loop import Answer, OpenLoop
from serving_models import BUNDLES, row_of

from gateway_world import World  # isort: skip
from regrow.registry.v1 import registry_pb2 as reg

HTTP, GRPC = 18973, 18974
EVERY_SECONDS, AFTER_SECONDS, ROWS = 1.5, 0.5, 200


@dataclass(slots=True)
class Round:
    """The answers of a round, and when (on the answers' clock) an alias was moved to which version."""

    answers: list[Answer]
    moved: list[tuple[float, int]] = field(default_factory=list)

    def during(self) -> list[Answer]:
        """Answers to requests that were due during a swap."""
        spans = []
        for at, version in self.moved:
            first = min((one.done for one in self.answers if one.version == version), default=at + EVERY_SECONDS)
            spans.append((at, first + AFTER_SECONDS))
        return [one for one in self.answers if any(start <= one.due <= end for start, end in spans)]


def drive(address: str, key: str, model: str, kind: str, rate: float, seconds: float, started: float) -> list[Answer]:
    """In a process of its own: asks for so many seconds; times count from `started` (wall clock)."""
    with OpenLoop(address, key, model, [row_of(kind, n) for n in range(ROWS)], per_second=rate) as loop:
        begun = time.time()
        time.sleep(seconds)
    offset = begun - started
    return [
        Answer(due=one.due + offset, sent=one.sent + offset, done=one.done + offset, version=one.version, problem=one.problem)
        for one in loop.answers
    ]


async def rounds(world: World, model: str, versions: list[str], given: argparse.Namespace, key: str) -> list[Round]:
    """Without and with swaps in turn."""
    loop, found = asyncio.get_running_loop(), list[Round]()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        await loop.run_in_executor(pool, os.getpid)
        waiting = iter(versions)
        for number in range(2 * given.rounds):
            started, moved = time.time(), list[tuple[float, int]]()
            address = f"127.0.0.1:{GRPC}"
            driving = loop.run_in_executor(pool, drive, address, key, model, given.kind, given.rate, given.seconds, started)
            while number % 2 and not driving.done() and time.time() - started < given.seconds - EVERY_SECONDS:
                await asyncio.sleep(EVERY_SECONDS)
                version = next(waiting)
                moved.append((time.time() - started, int(version.rpartition("/")[2])))
                await asyncio.to_thread(world.promote, version)
            found.append(Round(answers=await driving, moved=moved))
    return found


def told(name: str, answers: list[Answer], base: tuple[float, float] | None) -> tuple[float, float]:
    """Prints a line; answers p50 and p99 in milliseconds."""
    latencies = 1e3 * np.array([one.latency for one in answers if not one.problem] or [0.0])
    failed = sum(bool(one.problem) for one in answers)
    p50, p99 = float(np.quantile(latencies, 0.5)), float(np.quantile(latencies, 0.99))
    ratios = f"{p50 / base[0]:12.2f}{p99 / base[1]:12.2f}" if base else f"{1:12.2f}{1:12.2f}"
    print(f"{name:18}{len(answers):10,}{failed:8}{p50:10.2f}{p99:10.2f}{latencies.max():10.1f}{ratios}")
    return p50, p99


async def run(given: argparse.Namespace) -> bool:
    """Prints a table; answers whether nothing failed and the p99 stayed under twice that before."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        model = world.model("swapped")
        count = 1 + given.rounds * int(given.seconds / EVERY_SECONDS + 1)
        print(f"making {count} versions of a '{given.kind}' model ...", flush=True)
        versions = []
        for number in range(count):
            digest = BUNDLES[given.kind](world.objects, number, Path(folder) / "made")
            request = reg.CreateVersionRequest(parent=model, version=reg.Version(bundle_digest=digest))
            versions.append(world.versions.CreateVersion(request).name)
        world.promote(versions[0])
        key = first_key(world)
        environment = world.environment(gateway_http_address=f"127.0.0.1:{HTTP}", gateway_grpc_address=f"127.0.0.1:{GRPC}") | {
            "REGROW_LOG_LEVEL": "WARNING"
        }
        async with process(["-m", "services.gateway"], environment, HTTP):
            await asyncio.sleep(2.0)
            found = await rounds(world, model, versions[1:], given, key)
        world.stop()
    quiet = [one for each in found[0::2] for one in each.answers]
    swapped = [one for each in found[1::2] for one in each.answers]
    during = [one for each in found[1::2] for one in each.during()]
    print(
        f"\n{'':18}{'requests':>10}{'failed':>8}{'p50 ms':>10}{'p99 ms':>10}{'worst ms':>10}{'p50 ratio':>12}{'p99 ratio':>12}"
    )
    base = told("without a swap", quiet, None)
    told("with swaps, all", swapped, base)
    _, p99 = told("during swaps", during, base)
    swaps = sum(len(each.moved) for each in found)
    failed = sum(bool(one.problem) for one in [*quiet, *swapped])
    print(f"\n{swaps} swaps at {given.rate:g} requests a second")
    return failed == 0 and p99 < 2 * base[1]


def main() -> None:
    """Ends with 1 where the promise wasn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=sorted(BUNDLES), default="dense")
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    raise SystemExit(0 if asyncio.run(run(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
