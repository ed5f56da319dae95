"""Others' clients, unchanged, against a gateway: every public method of theirs, and what came of it.

    python benchmarks/peers/environments.py triton kserve     once
    python benchmarks/peers/clients.py                        about ten seconds; fails where a method does

A gateway is started for it, on free ports. The methods are found by introspection: one that a later client adds is told as
untried, which is a failure, until it is tried or excluded for a reason.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import structlog

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "gateway"), str(Path(__file__).parent)]

from environments import COMMAND, is_made, python_of  # noqa: E402
from gateway_world import RunningGateway, World  # noqa: E402 (the tests' registry, and a gateway in threads of this process)

SCRIPTS = {"triton": "triton_client.py", "kserve": "kserve_client.py"}
"""By environment: who tries the clients that are installed there."""
Outcomes = Mapping[str, Mapping[str, str]]


class Served:
    """A gateway with the model that the scripts ask: version 1 is its champion, and version 2 is there."""

    def __init__(self, folder: Path) -> None:
        self._world = World(folder)
        self._gateway = RunningGateway(self._world.settings())
        self._world.version(self._world.champion("clients"), good=2.0)

    def tried_by(self, environment: str) -> Outcomes:
        """By client and method: `passed`, `excluded: <reason>`, or what went wrong."""
        script = Path(__file__).parent / SCRIPTS[environment]
        addresses = [self._gateway.http.removeprefix("http://"), self._gateway.grpc]
        ended = subprocess.run(
            [python_of(environment), script, *addresses, str(self._gateway.first_key), "shop.clients"],
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise RuntimeError(f"{script.name} ended with {ended.returncode}: {ended.stderr}")
        found: Outcomes = json.loads(ended.stdout.splitlines()[-1])
        return found

    def stop(self) -> None:
        self._gateway.stop()
        self._world.stop()


def wrong(found: Outcomes) -> dict[str, str]:
    """By client and method, what neither passed nor is excluded."""
    return {
        f"{client}.{method}": outcome
        for client, methods in found.items()
        for method, outcome in methods.items()
        if not outcome.startswith(("passed", "excluded: "))
    }


def main() -> None:
    """Prints a line per client, the exclusions by their reason, and every failure."""
    if missing := [name for name in SCRIPTS if not is_made(name)]:
        raise SystemExit(f"The clients aren't there. Make their environments with: {COMMAND} {' '.join(missing)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder))
        found = {client: methods for name in SCRIPTS for client, methods in served.tried_by(name).items()}
        served.stop()
    for client, methods in found.items():
        passed = [method for method, outcome in methods.items() if outcome == "passed"]
        excluded = [method for method, outcome in methods.items() if outcome.startswith("excluded")]
        print(f"{client}: {len(methods)} public methods, {len(passed)} passed, {len(excluded)} excluded")
        print(f"    passed: {', '.join(passed)}")
        for method in excluded:
            print(f"    {methods[method].replace('excluded', f'excluded {method}', 1)}")
    if failures := wrong(found):
        raise SystemExit("\n".join(f"{method} {outcome}" for method, outcome in failures.items()))
    print("PASS: every public method passed or is excluded for a reason")


if __name__ == "__main__":
    main()
