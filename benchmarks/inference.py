"""The Open Inference Protocol served by Regrow's gateway, KServe and MLServer: CPU per request, over REST and gRPC.

    python benchmarks/peers/environments.py kserve mlserver     once: the environments of the peers
    python benchmarks/inference.py                              about a minute, ends by itself
    python benchmarks/inference.py --in-flight 1                one caller who waits for each answer, instead of 16 at once

All serve the same model (four numbers, scaled and softly clipped, into a logistic regression as an ONNX graph) and get the
same bytes: one row, a tensor per column. The gateway authenticates, checks its policy, gives every prediction an id, logs it
to the event log and counts it; the peers do what they do by default, MLServer in one process, which costs it least. A bare
server echoes a request of the same size. Every server is a process of its own; one at a time is asked, with 16 calls in
flight (the targets hold there), and what counts is the CPU time of its process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import onnx
import orjson
import uvloop
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "gateway"), str(ROOT / "benchmarks" / "peers")]

from environments import COMMAND, is_made, python_of  # noqa: E402
from gateway import BARE_GRPC, BARE_REST, IN_FLIGHT, Ask, Measured, first_key, grpc_asks, measure, process, rest_asks  # noqa: E402
from gateway_world import World  # noqa: E402 (the tests' registry)
from real_engines import free_port  # noqa: E402

from services.common.bundle import Input, Manifest, write_bundle  # noqa: E402
from services.common.bundle.decision import Decision  # noqa: E402
from services.common.bundle.manifest import GRAPH, ReaderEntry  # noqa: E402
from services.common.bundle.table import Number, Table  # noqa: E402
from services.common.objects.port import ObjectStore  # noqa: E402
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, Task, check  # noqa: E402
from services.gateway.oip.stubs import grpc_service_pb2 as oip  # noqa: E402

MODEL = "shop.bench"
PEERS_HOME = ROOT / "benchmarks" / "peers"
COLUMNS = [f"c{number}" for number in range(4)]
CENTERS, SCALES = [1.0, 2.0, 3.0, 4.0], [0.5, 0.4, 0.3, 0.2]
WEIGHTS = np.random.default_rng(7).normal(size=(4, 2)).astype(np.float32)
ROW = [1.5, -0.5, 3.25, 10.0]
ROUNDS, WARM_SECONDS, SECONDS = 4, 0.5, 2.0
"""Each server is measured so many times, in turn, and the least is told: what else the machine does only adds."""
PEERS, TARGETS = ("KServe", "MLServer"), {"REST": 0.5, "gRPC": 0.8}
"""CPU of the gateway per request, as a share of each peer's: what it must not exceed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a server is started, and what it serves: `rest` is a path, `grpc` a method, empty where it doesn't speak that."""

    name: str
    arguments: list[str]
    http_port: int = 0
    grpc_port: int = 0
    rest: str = f"/v2/models/{MODEL}/infer"
    grpc: str = "/inference.GRPCInferenceService/ModelInfer"
    python: Path = Path(sys.executable)
    environment: dict[str, str] = field(default_factory=dict)
    key: str = "none"


def graph(*, whole: bool) -> bytes:
    """`whole`: from the table to probabilities, for the peers; else what a bundle holds, from the scaled table to logits."""
    weights = numpy_helper.from_array(WEIGHTS, "weights")
    if not whole:
        nodes = [
            helper.make_node("MatMul", ["table", "weights"], ["flat"]),
            helper.make_node("Unsqueeze", ["flat", "one"], ["logits"]),
        ]
        return _model(nodes, ("logits", ["n", 1, 2]), [weights, numpy_helper.from_array(np.array([1]), "one")])
    constants = {"centers": CENTERS, "scales": SCALES, "limit": [3.0], "unit": [1.0]}
    nodes = [
        helper.make_node("Sub", ["table", "centers"], ["moved"]),
        helper.make_node("Mul", ["moved", "scales"], ["scaled"]),
        helper.make_node("Div", ["scaled", "limit"], ["share"]),
        helper.make_node("Mul", ["share", "share"], ["squared"]),
        helper.make_node("Add", ["squared", "unit"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Div", ["scaled", "root"], ["clipped"]),
        helper.make_node("MatMul", ["clipped", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    known = [numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in constants.items()]
    return _model(nodes, ("probabilities", ["n", 2]), [weights, *known])


def _model(nodes: list[onnx.NodeProto], output: tuple[str, list[str | int]], constants: list[onnx.TensorProto]) -> bytes:
    made = helper.make_graph(
        nodes, "table",
        [helper.make_tensor_value_info("table", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        constants,
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def bundle(objects: ObjectStore) -> str:
    """The digest of a bundle with the model."""
    numbers = tuple(Number(name=n, center=c, scale=s) for n, c, s in zip(COLUMNS, CENTERS, SCALES, strict=True))
    spec = check(
        ProblemSpec(
            name="projects/shop/problemSpecs/bench", dataset="projects/shop/datasets/bench", task=Task.SINGLE_LABEL,
            classes=(ClassDefinition(name="ham"), ClassDefinition(name="spam")),
            inputs=tuple(InputColumn(name=name, kind="numeric") for name in COLUMNS),
        )
    )  # fmt: skip
    manifest = Manifest(
        spec=spec,
        inputs=tuple(Input(name=name, kind="numeric") for name in COLUMNS),
        readers=(ReaderEntry(modality="table", kind="table", columns=tuple(COLUMNS), parts=("table.json",)),),
        heads=("table",),
        decision=Decision(weights=(1.0,)),
        design={"template": "benchmark"},
    )
    return write_bundle(objects, {GRAPH: graph(whole=False), "table.json": Table(numbers=numbers).to_json()}, manifest)


def rest_body() -> bytes:
    """One row, a tensor per column."""
    tensors = [{"name": n, "datatype": "FP32", "shape": [1], "data": [v]} for n, v in zip(COLUMNS, ROW, strict=True)]
    return orjson.dumps({"inputs": tensors})


def grpc_body() -> bytes:
    """The same, raw."""
    request = oip.ModelInferRequest(model_name=MODEL)
    for name, value in zip(COLUMNS, ROW, strict=True):
        request.inputs.add(name=name, datatype="FP32", shape=[1])
        request.raw_input_contents.append(np.float32(value).tobytes())
    return request.SerializeToString()


def servers(world: World, folder: Path, key: str) -> list[Server]:
    """The bare ones, and everyone who serves the model."""
    rest, grpc, *ports = (free_port() for _ in range(9))
    (folder / "graph.onnx").write_bytes(graph(whole=True))
    return [
        Server(name="bare", arguments=["-c", BARE_REST.format(port=rest)], http_port=rest, grpc=""),
        Server(name="bare", arguments=["-c", BARE_GRPC.format(port=grpc)], grpc_port=grpc, rest="", grpc="/bare.Service/Echo"),
        _gateway(world, ports[0], ports[1], key),
        _kserve(folder, ports[2], ports[3]),
        _mlserver(folder, ports[4], ports[5], ports[6]),
    ]


def _gateway(world: World, http_port: int, grpc_port: int, key: str) -> Server:
    addresses = {"gateway_http_address": f"127.0.0.1:{http_port}", "gateway_grpc_address": f"127.0.0.1:{grpc_port}"}
    return Server(
        name="gateway", arguments=["-m", "services.gateway"], http_port=http_port, grpc_port=grpc_port,
        environment=world.environment(**addresses), key=key,
    )  # fmt: skip


def _kserve(folder: Path, http_port: int, grpc_port: int) -> Server:
    arguments = [str(PEERS_HOME / "kserve_server.py"), str(folder / "graph.onnx"), str(http_port), str(grpc_port)]
    return Server(name="KServe", arguments=arguments, http_port=http_port, grpc_port=grpc_port, python=python_of("kserve"))


def _mlserver(folder: Path, http_port: int, grpc_port: int, metrics_port: int) -> Server:
    ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    settings = {**ports, "parallel_workers": 0, "debug": False, "host": "127.0.0.1"}
    model = {"name": MODEL, "implementation": "mlserver_model.Table", "parameters": {"uri": str(folder / "graph.onnx")}}
    home = folder / "mlserver"
    home.mkdir()
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
    return Server(
        name="MLServer", arguments=["-c", "from mlserver.cli import main; main()", "start", str(home)], http_port=http_port,
        grpc_port=grpc_port, python=python_of("mlserver"), environment={"PYTHONPATH": str(PEERS_HOME)},
    )  # fmt: skip


async def probability(channel: grpc.aio.Channel, server: Server) -> float:
    """Of spam, so that all are seen to serve the same model."""
    answer = oip.ModelInferResponse.FromString(
        await channel.unary_unary(server.grpc)(grpc_body(), metadata=(("authorization", f"Bearer {server.key}"),))
    )
    index = [one.name for one in answer.outputs].index("probabilities")
    if answer.raw_output_contents:
        return float(np.frombuffer(answer.raw_output_contents[index], "<f4")[1])
    return float(answer.outputs[index].contents.fp32_contents[1])


async def run(everyone: list[Server], in_flight: int) -> dict[str, Measured]:
    """All servers are up, and one at a time is asked."""
    turns: list[tuple[str, int, Callable[[], Awaitable[list[Ask]]]]] = []
    told: list[float] = []
    async with AsyncExitStack() as stack:
        for server in everyone:
            started = process(server.arguments, server.environment, server.http_port or server.grpc_port, str(server.python))
            pid = await stack.enter_async_context(started)
            if server.rest:  # connected anew at each turn: some close a connection that is quiet for five seconds
                turns.append((f"{server.name} REST", pid, partial(_rest_asks, server, in_flight)))
            if server.grpc:
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}"))
                await channel.channel_ready()
                turns.append((f"{server.name} gRPC", pid, partial(_grpc_asks, server, channel, in_flight)))
                told += [await probability(channel, server)] if server.rest else []
        assert max(told) - min(told) < 1e-5, f"they don't serve the same model: {told}"
        rounds = [
            {name: await measure(pid, await asks(), warm=WARM_SECONDS, seconds=SECONDS) for name, pid, asks in turns}
            for _ in range(ROUNDS)
        ]
    return {name: min((one[name] for one in rounds), key=lambda measured: measured.cpu) for name, _, _ in turns}


async def _rest_asks(server: Server, in_flight: int) -> list[Ask]:
    return await rest_asks(server.http_port, server.rest, server.key, rest_body(), in_flight)


async def _grpc_asks(server: Server, channel: grpc.aio.Channel, in_flight: int) -> list[Ask]:
    return grpc_asks(channel, server.grpc, server.key, grpc_body(), in_flight)


def report(found: dict[str, Measured]) -> bool:
    """Prints a table; answers whether every target is met."""
    print(f"{'':15}{'calls/s':>9}{'CPU us/call':>13}{'CPU / bare':>12}{'gateway / it':>14}{'target':>9}")
    met = True
    for name, measured in found.items():
        who, protocol = name.split()
        share, told = found[f"gateway {protocol}"].cpu / measured.cpu, ""
        if who in PEERS:
            reached = share <= TARGETS[protocol]
            met, told = met and reached, f"{TARGETS[protocol]:9.1f} {'PASS' if reached else 'FAIL'}"
        bare = measured.cpu / found[f"bare {protocol}"].cpu
        print(f"{name:15}{measured.rate:9,.0f}{measured.cpu:13,.0f}{bare:12.1f}{share:14.2f}{told}")
    return met


def main() -> None:
    """Prints a table, and fails where the gateway misses a target."""
    parser = argparse.ArgumentParser(description="CPU per prediction of the gateway, KServe and MLServer.")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="calls at once (%(default)s)")
    in_flight = parser.parse_args().in_flight
    missing = [name for name in ("kserve", "mlserver") if not is_made(name)]
    if missing:
        raise SystemExit(f"The peers' environments aren't there. Make them with: {COMMAND} {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "data")
        model = world.model("bench")
        world.promote(world.version(model, digest=bundle(world.objects)))
        found = uvloop.run(run(servers(world, Path(folder), first_key(world)), in_flight))
        world.stop()
    if not report(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
