"""How fast the registry answers what gateways ask it, beside a bare gRPC echo in the same run.

    python benchmarks/registry.py [--seconds 3] [--rounds 3]

Both servers are processes of their own, on loopback, with sixteen threads; one client process asks both in turn. The echo
returns the request's bytes and does nothing else, so its rate is what Python's gRPC leaves to any service. The table shows
the median of the rounds, and each rate as a share of the echo's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.registry.v1 import registry_pb2 as pb
from regrow.registry.v1 import registry_pb2_grpc as rpc
from services.common.objects import MODELS, DirectoryStore
from services.common.rpc.principal import call_metadata, service_principal

ROOT = Path(__file__).parents[1]
TOKEN = "benchmark"
MODEL = "projects/default/models/tone"
CHAMPION = f"{MODEL}/aliases/champion"
METADATA = call_metadata(service_principal("benchmark"), TOKEN, "benchmark")
MOVES = 200

Call = Callable[[], object]

ECHO = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
echo = grpc.unary_unary_rpc_method_handler(lambda sent, context: sent)
server = grpc.server(ThreadPoolExecutor(16), handlers=[grpc.method_handlers_generic_handler("bench.Echo", {"Echo": echo})])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""

REGISTRY = """
import sys
from pathlib import Path
from services.common.telemetry import configure_logging
from services.registry.app import start
from services.registry.settings import RegistrySettings
configure_logging("registry", level="WARNING")
server = start(RegistrySettings(data_dir=Path(sys.argv[1]), registry_address="127.0.0.1:0", internal_token="benchmark"))
print(server.port, flush=True)
server.wait()
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[grpc.Channel]:
    """A server process that prints its port, and a channel to it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
            yield channel
    finally:
        process.terminate()
        process.wait()


def prepare(channel: grpc.Channel, folder: Path) -> None:
    """A model with two versions and a champion that moved between them."""
    manifest = json.dumps({"format": 1, "parts": []}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    DirectoryStore(folder / "objects").put(MODELS, f"sha256/{digest}", manifest)
    create = pb.CreateModelRequest(parent="projects/default", model_id="tone")
    rpc.ModelServiceStub(channel).CreateModel(create, metadata=METADATA)
    for _ in range(2):
        version = pb.Version(bundle_digest=f"sha256:{digest}")
        request = pb.CreateVersionRequest(parent=MODEL, version=version)
        rpc.VersionServiceStub(channel).CreateVersion(request, metadata=METADATA)
    etag = ""
    for n in range(MOVES):
        move = pb.SetAliasRequest(name=CHAMPION, version=f"{MODEL}/versions/{1 + n % 2}", etag=etag)
        etag = rpc.AliasServiceStub(channel).SetAlias(move, metadata=METADATA).etag


def calls(echo: grpc.Channel, registry: grpc.Channel) -> dict[str, Call]:
    """What is measured, by name; the echo first."""
    now = Timestamp()
    now.GetCurrentTime()
    read, then = pb.GetAliasRequest(name=CHAMPION), pb.GetAliasRequest(name=CHAMPION, as_of=now)
    everything = pb.ListAliasesRequest(parent="projects/-/models/-")
    champion = pb.GetVersionRequest(name=f"{MODEL}/versions/@champion")
    bare = echo.unary_unary("/bench.Echo/Echo")
    sent = read.SerializeToString()
    aliases, versions = rpc.AliasServiceStub(registry), rpc.VersionServiceStub(registry)
    return {
        "bare gRPC echo": lambda: bare(sent),
        "alias": lambda: aliases.GetAlias(read, metadata=METADATA),
        f"alias as of a moment ({MOVES} moves)": lambda: aliases.GetAlias(then, metadata=METADATA),
        "all aliases": lambda: aliases.ListAliases(everything, metadata=METADATA),
        "version by alias": lambda: versions.GetVersion(champion, metadata=METADATA),
    }


def rate(call: Call, callers: int, seconds: float) -> float:
    """Answers per second to `callers` threads that each ask again as soon as they are answered."""
    until = time.perf_counter() + seconds
    barrier = threading.Barrier(callers)

    def ask(_: int) -> int:
        barrier.wait()
        answered = 0
        while time.perf_counter() < until:
            call()
            answered += 1
        return answered

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        answered = sum(pool.map(ask, range(callers)))
    return answered / (time.perf_counter() - began)


def table(rates: dict[tuple[str, int], list[float]], names: Sequence[str], callers: Sequence[int]) -> str:
    """Rates and shares, a line for each call."""
    middle = {key: statistics.median(values) for key, values in rates.items()}
    lines = [f"{'reads/s':<34}" + "".join(f"{f'{n} at once':>14}{'of echo':>9}" for n in callers)]
    for name in names:
        cells = (f"{middle[name, n]:>14,.0f}{middle[name, n] / middle[names[0], n]:>9.2f}" for n in callers)
        lines.append(f"{name:<34}" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each call is repeated in a round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    callers = (1, 8)
    with tempfile.TemporaryDirectory() as folder, running(ECHO) as echo, running(REGISTRY, folder) as registry:
        prepare(registry, Path(folder))
        measured: dict[str, Call] = calls(echo, registry)
        rates: dict[tuple[str, int], list[Any]] = {(name, n): [] for name in measured for n in callers}
        for call in measured.values():
            rate(call, 1, 0.3)
        for _ in range(chosen.rounds):
            for name, n in rates:
                rates[name, n].append(rate(measured[name], n, chosen.seconds))
    print(table(rates, list(measured), callers))


if __name__ == "__main__":
    main()
