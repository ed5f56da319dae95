"""The Open Inference Protocol served by Regrow's gateway, KServe and MLServer: CPU per request, over REST and gRPC.

    python benchmarks/peers/environments.py kserve mlserver     once: the environments of the peers
    python benchmarks/inference.py                              about a minute, ends by itself

All serve the same model (four numbers, scaled and softly clipped, into a logistic regression as an ONNX graph) and get the
same bytes: one row, a tensor per column. The gateway authenticates, checks its policy, gives every prediction an id, logs it
to the event log and counts it; the peers do what they do by default, MLServer in one process, which costs it least. A bare
server echoes a request of the same size. Every server is a process of its own, alone, with 16 calls in flight; what counts is
the CPU time of its process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import onnx
import orjson
import uvloop
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "gateway"), str(ROOT / "benchmarks" / "peers")]

from environments import COMMAND, is_made, python_of  # noqa: E402
from gateway import BARE_GRPC, BARE_REST, Measured, first_key, grpc_asks, measure, process, rest_asks  # noqa: E402
from gateway_world import World  # noqa: E402 (the tests' registry)

from services.common.bundle import Input, Manifest, write_bundle  # noqa: E402
from services.common.bundle.decision import Decision  # noqa: E402
from services.common.bundle.manifest import GRAPH, ReaderEntry  # noqa: E402
from services.common.bundle.table import Number, Table  # noqa: E402
from services.common.objects.port import ObjectStore  # noqa: E402
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, Task, check  # noqa: E402
from services.gateway.oip.stubs import grpc_service_pb2 as oip  # noqa: E402

MODEL = "shop.bench"
INFER = "/inference.GRPCInferenceService/ModelInfer"
COLUMNS = [f"c{number}" for number in range(4)]
CENTERS, SCALES = [1.0, 2.0, 3.0, 4.0], [0.5, 0.4, 0.3, 0.2]
WEIGHTS = np.random.default_rng(7).normal(size=(4, 2)).astype(np.float32)
ROW = [1.5, -0.5, 3.25, 10.0]
HTTP, GRPC = 18971, 18972
PEERS, TARGETS = ("KServe", "MLServer"), {"REST": 0.5, "gRPC": 0.8}
"""CPU of the gateway per request, as a share of each peer's: what it must not exceed."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started; `rest` and `grpc` are its paths, `key` what it asks for."""

    name: str
    python: Path
    arguments: list[str]
    environment: dict[str, str]
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
    """Everyone who serves the model, on the same two ports."""
    peers = ROOT / "benchmarks" / "peers"
    (folder / "graph.onnx").write_bytes(graph(whole=True))
    settings = {
        "http_port": HTTP,
        "grpc_port": GRPC,
        "metrics_port": 18973,
        "parallel_workers": 0,
        "debug": False,
        "host": "127.0.0.1",
    }
    model = {"name": MODEL, "implementation": "mlserver_model.Table", "parameters": {"uri": str(folder / "graph.onnx")}}
    mlserver = folder / "mlserver"
    mlserver.mkdir()
    (mlserver / "settings.json").write_text(json.dumps(settings))
    (mlserver / "model-settings.json").write_text(json.dumps(model))
    own = world.environment(gateway_http_address=f"127.0.0.1:{HTTP}", gateway_grpc_address=f"127.0.0.1:{GRPC}")
    script = [str(peers / "kserve_server.py"), str(folder / "graph.onnx"), str(HTTP), str(GRPC)]
    start = "from mlserver.cli import main; main()"
    return [
        Server("Regrow", Path(sys.executable), ["-m", "services.gateway"], own, key),
        Server("KServe", python_of("kserve"), script, {}),
        Server("MLServer", python_of("mlserver"), ["-c", start, "start", str(mlserver)], {"PYTHONPATH": str(peers)}),
    ]


@asynccontextmanager
async def started(server: Server) -> AsyncIterator[int]:
    """A server that answers; its process id."""
    async with process(server.arguments, server.environment, HTTP, python=str(server.python)) as pid:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{GRPC}") as channel:
            await channel.channel_ready()
        yield pid


async def probability(channel: grpc.aio.Channel, server: Server) -> float:
    """Of spam, so that all are seen to serve the same model."""
    answer = oip.ModelInferResponse.FromString(
        await channel.unary_unary(INFER)(grpc_body(), metadata=(("authorization", f"Bearer {server.key}"),))
    )
    index = [one.name for one in answer.outputs].index("probabilities")
    if answer.raw_output_contents:
        return float(np.frombuffer(answer.raw_output_contents[index], "<f4")[1])
    return float(answer.outputs[index].contents.fp32_contents[1])


async def run(everyone: list[Server]) -> dict[str, Measured]:
    """Every server alone, one after the other."""
    found: dict[str, Measured] = {}
    async with process(["-c", BARE_REST.format(port=HTTP)], {}, HTTP) as pid:
        found["bare REST"] = await measure(pid, await rest_asks(HTTP, "/echo", "none", rest_body()))
    async with (
        process(["-c", BARE_GRPC.format(port=GRPC)], {}, GRPC) as pid,
        grpc.aio.insecure_channel(f"127.0.0.1:{GRPC}") as channel,
    ):
        found["bare gRPC"] = await measure(pid, grpc_asks(channel, "/bare.Service/Echo", "", grpc_body()))
    told: list[float] = []
    for server in everyone:
        async with started(server) as pid, grpc.aio.insecure_channel(f"127.0.0.1:{GRPC}") as channel:
            told.append(await probability(channel, server))
            asks = await rest_asks(HTTP, f"/v2/models/{MODEL}/infer", server.key, rest_body())
            found[f"{server.name} REST"] = await measure(pid, asks)
            found[f"{server.name} gRPC"] = await measure(pid, grpc_asks(channel, INFER, server.key, grpc_body()))
    assert max(told) - min(told) < 1e-5, f"they don't serve the same model: {told}"
    return found


def report(found: dict[str, Measured]) -> bool:
    """Prints a table; answers whether every target is met."""
    print(f"{'':15}{'calls/s':>9}{'CPU us/call':>13}{'CPU / bare':>12}{'gateway / it':>14}{'target':>9}")
    met = True
    for name, measured in found.items():
        who, protocol = name.split()
        share, told = found[f"Regrow {protocol}"].cpu / measured.cpu, ""
        if who in PEERS:
            reached = share <= TARGETS[protocol]
            met, told = met and reached, f"{TARGETS[protocol]:9.1f} {'PASS' if reached else 'FAIL'}"
        bare = measured.cpu / found[f"bare {protocol}"].cpu
        print(f"{name:15}{measured.rate:9,.0f}{measured.cpu:13,.0f}{bare:12.1f}{share:14.2f}{told}")
    return met


def main() -> None:
    """Prints a table, and fails where the gateway misses a target."""
    missing = [name for name in ("kserve", "mlserver") if not is_made(name)]
    if missing:
        raise SystemExit(f"The peers' environments aren't there. Make them with: {COMMAND} {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "data")
        model = world.model("bench")
        world.promote(world.version(model, digest=bundle(world.objects)))
        found = uvloop.run(run(servers(world, Path(folder), first_key(world))))
        world.stop()
    if not report(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
