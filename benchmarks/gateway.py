"""Predict through the gateway, over REST and gRPC, beside bare servers that only echo: rates and CPU as ratios.

    python benchmarks/gateway.py            about 25 seconds, ends by itself

The gateway authenticates, checks policy and rules, predicts with a tiny linear model, gives an id and logs the prediction.
The bare ones are Starlette and grpc.aio on the same uvicorn and uvloop, answering bytes of the same size. Every server is a
process of its own; one client process keeps 16 calls in flight. CPU time of the server's process is the steadier figure.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import orjson
import uvloop

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "gateway")]

from gateway_world import World  # noqa: E402 (the tests' registry and their tiny real bundle)

from regrow.gateway.v1 import gateway_pb2  # noqa: E402

IN_FLIGHT = 16
WARM_SECONDS, SECONDS = 1.0, 4.0
ROW = {"text": "win a free lunch, win", "length": 21.0}
BARE = "127.0.0.1:18962"
TICKS = os.sysconf("SC_CLK_TCK")

BARE_REST = """
import uvicorn, orjson
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def echo(request):
    return Response(orjson.dumps(orjson.loads(await request.body())), media_type="application/json")
app = Starlette(routes=[Route("/{{path:path}}", echo, methods=["POST"])])
uvicorn.run(app, port={port}, http="httptools", loop="uvloop", lifespan="off", ws="none", access_log=False, log_level="error")
"""
BARE_GRPC = """
import asyncio, grpc, uvloop
async def echo(content, context):
    return content
async def main():
    server = grpc.aio.server()
    handlers = {{"Echo": grpc.unary_unary_rpc_method_handler(echo)}}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Service", handlers),))
    server.add_insecure_port("127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()
uvloop.run(main())
"""

Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Calls a second, and the server's CPU microseconds for each."""

    rate: float
    cpu: float


@asynccontextmanager
async def process(
    arguments: list[str], environment: dict[str, str], port: int, python: str = sys.executable
) -> AsyncIterator[int]:
    """A server process that listens; its process id."""
    server = await asyncio.create_subprocess_exec(
        python, *arguments, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
        yield server.pid
    finally:
        server.terminate()
        await server.wait()


async def measure(pid: int, asks: list[Ask], warm: float = WARM_SECONDS, seconds: float = SECONDS) -> Measured:
    """Runs every ask again and again, all at once, and counts after a while of warming up."""
    count, counting, stop = 0, False, False

    async def go_on(ask: Ask) -> None:
        nonlocal count
        while not stop:
            await ask()
            count += counting

    tasks = [asyncio.ensure_future(go_on(ask)) for ask in asks]
    await asyncio.sleep(warm)
    counting, began, cpu = True, time.perf_counter(), cpu_seconds(pid)
    await asyncio.sleep(seconds)
    counting, lasted, used = False, time.perf_counter() - began, cpu_seconds(pid) - cpu
    stop = True
    await asyncio.gather(*tasks)
    return Measured(rate=count / lasted, cpu=1e6 * used / count)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def rest_asks(port: int, path: str, key: str, body: bytes, in_flight: int = IN_FLIGHT) -> list[Ask]:
    """Calls over kept connections, written as bytes: the client must not be what is measured."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body

    async def connect() -> Ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def ask() -> None:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))

        return ask

    return [await connect() for _ in range(in_flight)]


def grpc_asks(channel: grpc.aio.Channel, path: str, key: str, body: bytes, in_flight: int = IN_FLIGHT) -> list[Ask]:
    """Calls on one channel, as bytes."""
    call = channel.unary_unary(path)
    metadata = (("authorization", f"Bearer {key}"),)

    async def ask() -> None:
        await call(body, metadata=metadata)

    return [ask] * in_flight


async def run(world: World) -> dict[str, Measured]:
    """Every server alone, one after the other."""
    model = world.champion("bench")
    body = orjson.dumps({"rows": [ROW]})
    request = gateway_pb2.PredictRequest(name=model)
    request.rows.add().update(ROW)
    found: dict[str, Measured] = {}
    async with process(["-c", BARE_REST.format(port=18961)], {}, 18961) as pid:
        found["bare REST"] = await measure(pid, await rest_asks(18961, "/v1/echo", "none", body))
    async with process(["-c", BARE_GRPC.format(port=18962)], {}, 18962) as pid, grpc.aio.insecure_channel(BARE) as channel:
        found["bare gRPC"] = await measure(pid, grpc_asks(channel, "/bare.Service/Echo", "", request.SerializeToString()))
    key = os.environ["BENCHMARK_KEY"]
    environment = world.environment(gateway_http_address="127.0.0.1:18963", gateway_grpc_address="127.0.0.1:18964")
    async with process(["-m", "services.gateway"], environment, 18963) as pid:
        found["gateway REST"] = await measure(pid, await rest_asks(18963, f"/v1/{model}:predict", key, body))
        async with grpc.aio.insecure_channel("127.0.0.1:18964") as channel:
            path = "/regrow.gateway.v1.PredictionService/Predict"
            found["gateway gRPC"] = await measure(pid, grpc_asks(channel, path, key, request.SerializeToString()))
    return found


def main() -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        os.environ["BENCHMARK_KEY"] = first_key(world)
        found = uvloop.run(run(world))
        world.stop()
    print(f"{'':14}{'calls/s':>10}{'CPU us/call':>14}{'rate / bare':>14}{'CPU / bare':>13}")
    for name, measured in found.items():
        bare = found[f"bare {name.split()[1]}"]
        ratios = f"{measured.rate / bare.rate:14.2f}{measured.cpu / bare.cpu:13.2f}"
        print(f"{name:14}{measured.rate:10,.0f}{measured.cpu:14,.0f}{ratios}")


def first_key(world: World) -> str:
    """An admin key in the gateway's database."""
    from services.gateway.keys import storage
    from services.gateway.keys.handlers import Keys
    from services.gateway.keys.rules import Pepper

    settings = world.settings()
    database = storage.open_keys(settings.database())
    secret = Keys(database, Pepper(settings.key_pepper.get_secret_value())).create_first()
    database.close()
    assert secret is not None
    return secret


if __name__ == "__main__":
    main()
