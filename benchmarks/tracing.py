"""What traces cost a prediction: the gateway without a collector, and with one at 1%, 10% and 100% of the requests.

    python benchmarks/tracing.py            about 40 seconds, ends by itself

CPU time of the gateway's process per call over REST, as ratios to the gateway that traces nothing, which is measured first and
last: the difference between those two is the noise.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson
import uvloop

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests"), str(ROOT / "tests" / "gateway")]

from gateway import ROW, Measured, first_key, measure, process, rest_asks  # noqa: E402
from gateway_world import World  # noqa: E402
from otlp_collector import collector  # noqa: E402

PORT = 18985


async def one(world: World, model: str, key: str, settings: dict[str, str]) -> Measured:
    """The gateway with these settings, asked by 16 callers at once."""
    environment = world.environment(gateway_http_address=f"127.0.0.1:{PORT}", gateway_grpc_address=f"127.0.0.1:{PORT + 1}")
    async with process(["-m", "services.gateway"], {**environment, **settings}, PORT) as pid:
        return await measure(pid, await rest_asks(PORT, f"/v1/{model}:predict", key, orjson.dumps({"rows": [ROW]})))


async def run(world: World, key: str, endpoint: str) -> dict[str, Measured]:
    """Every case alone, one after the other."""
    model = world.champion("bench")
    cases: dict[str, dict[str, str]] = {"no traces": {}}
    for ratio in (0.01, 0.1, 1.0):
        cases[f"{ratio:.0%} traced"] = {"REGROW_OTLP_ENDPOINT": endpoint, "REGROW_TRACE_SAMPLE_RATIO": str(ratio)}
    cases["no traces again"] = {}
    return {name: await one(world, model, key, settings) for name, settings in cases.items()}


def main() -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as folder, collector() as spans:
        world = World(Path(folder))
        found = uvloop.run(run(world, first_key(world), spans.endpoint))
        world.stop()
    base = found["no traces"]
    print(f"{'':18}{'calls/s':>10}{'CPU us/call':>14}{'CPU / no traces':>18}")
    for name, measured in found.items():
        print(f"{name:18}{measured.rate:10,.0f}{measured.cpu:14,.0f}{measured.cpu / base.cpu:18.2f}")


if __name__ == "__main__":
    main()
