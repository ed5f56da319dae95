"""A small real world for the gateway: the real registry, recording services, tiny real bundles, a gateway in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import uvloop
from google.api.httpbody_pb2 import HttpBody
from onnx import TensorProto, helper, numpy_helper

from regrow.labeling.v1 import datasets_pb2, datasets_pb2_grpc, problem_specs_pb2_grpc, votes_pb2, votes_pb2_grpc
from regrow.registry.v1 import registry_pb2 as reg
from regrow.registry.v1 import registry_pb2_grpc as reg_rpc
from regrow.training.v1 import (
    batch_predictions_pb2,
    batch_predictions_pb2_grpc,
    policies_pb2,
    policies_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
)
from regrow.types.v1 import problem_spec_pb2
from services.common.bundle import Input, Manifest, write_bundle
from services.common.bundle.decision import Decision
from services.common.bundle.manifest import GRAPH, ReaderEntry
from services.common.bundle.terms import Terms
from services.common.errors import AlreadyExists, InvalidField, NotFound
from services.common.objects import DirectoryStore
from services.common.objects.port import ObjectStore
from services.common.rpc.client import internal_channel
from services.common.rpc.principal import Principal, current_principal, current_request_id
from services.common.rpc.server import RunningServer, serve
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, Task, check
from services.common.tls import own_certificate
from services.gateway.app import Gateway, open_gateway
from services.gateway.settings import GatewaySettings
from services.registry.app import start as start_registry
from services.registry.settings import RegistrySettings

TOKEN = "the token of this test"


def tiny_bundle(
    objects: ObjectStore,
    *,
    good: float = 1.0,
    classes: tuple[str, ...] = ("ham", "spam"),
    task: Task = Task.SINGLE_LABEL,
    name: str = "spam",
    source_values: tuple[str, ...] = ("1", "junk"),
) -> str:
    """A linear model of words: `free` and `win` speak for the last class, with weight `good`."""
    terms = Terms(terms=("free", "win", "lunch", "meeting"), weights=np.ones(4))
    weights = np.zeros((4, len(classes)), dtype=np.float32)
    weights[:2, -1], weights[2:, 0] = 4 * good, 4 * good
    spec = check(
        ProblemSpec(
            name=f"projects/shop/problemSpecs/{name}", dataset="projects/shop/datasets/mail", task=task,
            classes=tuple(
                ClassDefinition(name=c, source_values=(c, *source_values) if c == classes[-1] else ()) for c in classes
            ),
            inputs=(InputColumn(name="text", kind="text"), InputColumn(name="length", kind="numeric")),
        )
    )  # fmt: skip
    manifest = Manifest(
        spec=spec,
        inputs=(Input(name="text", kind="text"), Input(name="length", kind="numeric", missing_seen=True)),
        readers=(ReaderEntry(modality="text", kind="terms", columns=("text",), parts=("terms.json",)),),
        heads=("text",),
        decision=Decision(weights=(1.0,)),
        design={"template": "brew"},
    )
    return write_bundle(objects, {GRAPH: _graph(weights), "terms.json": terms.to_json()}, manifest)


def _graph(weights: np.ndarray) -> bytes:
    """`(rows, terms)` numbers and weights to `(rows, 1, classes)` logits."""
    nodes = [
        helper.make_node("Gather", ["w", "text_index"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["text_value", "last"], ["values"]),
        helper.make_node("Mul", ["rows", "values"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["logits"], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [
            helper.make_tensor_value_info("text_index", TensorProto.INT64, ["n", "t"]),
            helper.make_tensor_value_info("text_value", TensorProto.FLOAT, ["n", "t"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, weights.shape[1]])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


class Recorder:
    """What the services behind were asked, by whom."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.principals: list[Principal] = []
        self.request_ids: list[str] = []
        self.cancelled = threading.Event()
        self.streaming = threading.Event()
        self.importing = threading.Event()

    def note(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.principals.append(current_principal())
        self.request_ids.append(current_request_id())

    @property
    def last(self) -> Any:
        return self.requests[-1]


class Labeling(
    datasets_pb2_grpc.DatasetServiceServicer,
    votes_pb2_grpc.VoteServiceServicer,
    problem_specs_pb2_grpc.ProblemSpecServiceServicer,
):
    """Answers what it was asked, and remembers it."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.digest = ""
        self.largest = 0
        self.held: threading.Event | None = None

    def add_to(self, server: grpc.Server) -> None:
        datasets_pb2_grpc.add_DatasetServiceServicer_to_server(self, server)
        votes_pb2_grpc.add_VoteServiceServicer_to_server(self, server)
        problem_specs_pb2_grpc.add_ProblemSpecServiceServicer_to_server(self, server)

    def ImportDataset(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> datasets_pb2.Dataset:
        answered = threading.Event()

        def ended() -> None:
            if not answered.is_set():
                self.recorder.cancelled.set()

        if not context.add_callback(ended):
            ended()
        first = next(request_iterator)
        self.recorder.note(first, context)
        self.recorder.importing.set()
        if first.dataset_id == "taken":
            raise AlreadyExists("dataset", f"{first.parent}/datasets/taken")
        digest, size, self.largest = hashlib.sha256(first.content), len(first.content), 0
        for message in request_iterator:
            digest.update(message.content)
            size += len(message.content)
            self.largest = max(self.largest, len(message.content))
        time.sleep(0.05)  # gRPC tells the end of the messages a moment before it tells that the call was cancelled
        if context.is_active():
            answered.set()
        self.digest = digest.hexdigest()
        answer = datasets_pb2.Dataset(name=f"{first.parent}/datasets/{first.dataset_id}", description=first.description)
        answer.latest_version.size_bytes = size
        return answer

    def GetDatasetVersion(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.DatasetVersion:
        if not request.name.endswith(("/latest", "/1")):
            raise NotFound("dataset version", request.name, "Import it first.")
        return datasets_pb2.DatasetVersion(name=request.name, row_count=100, holdout_count=20)

    def GetDataset(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.Dataset:
        self.recorder.note(request, context)
        if request.name.endswith("/missing"):
            raise NotFound("dataset", request.name, "Import it first.")
        if request.name.endswith("/broken"):
            raise ValueError("secret: /etc/passwd")
        if request.name.endswith("/slow"):
            self.recorder.streaming.set()
            gone = threading.Event()
            context.add_callback(gone.set)
            if gone.wait(10):
                self.recorder.cancelled.set()
        return datasets_pb2.Dataset(name=request.name)

    def ListDatasets(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.ListDatasetsResponse:
        self.recorder.note(request, context)
        return datasets_pb2.ListDatasetsResponse(datasets=[datasets_pb2.Dataset(name=f"{request.parent}/datasets/a")])

    def DeleteDataset(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.DeleteDatasetResponse:
        self.recorder.note(request, context)
        if request.name.endswith("/missing"):
            raise NotFound("dataset", request.name)
        if request.name.endswith("/slow"):
            self.recorder.streaming.set()
            gone = threading.Event()
            context.add_callback(gone.set)
            if gone.wait(20):
                self.recorder.cancelled.set()
        self._hold(request.name.endswith("/held"))
        return datasets_pb2.DeleteDatasetResponse()

    def _hold(self, asked: bool) -> None:
        """Doesn't answer before a test lets it, where a test holds it."""
        held = self.held
        if asked and held is not None:
            held.wait(20)

    def UpdateSchema(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.DatasetVersion:
        self.recorder.note(request, context)
        return datasets_pb2.DatasetVersion(name=f"{request.name}/versions/2", row_count=1 << 40)

    def ExportDataset(self, request: Any, context: grpc.ServicerContext) -> Iterator[HttpBody]:
        self.recorder.note(request, context)
        if "/missing/" in request.name:
            raise NotFound("dataset version", request.name)
        for number in range(3):
            yield HttpBody(content_type="text/csv" if not number else "", data=b"row %d\n" % number)
        if "/torn/" in request.name:
            raise InvalidField("name", "breaks in the middle")

    def WriteVotes(self, request_iterator: Iterable[Any], context: grpc.ServicerContext) -> votes_pb2.WriteVotesResponse:
        written = 0
        for request in request_iterator:
            self.recorder.note(request, context)
            written += len(request.votes)
        return votes_pb2.WriteVotesResponse(written=written)

    def ListVotes(self, request: Any, context: grpc.ServicerContext) -> votes_pb2.ListVotesResponse:
        self.recorder.note(request, context)
        return votes_pb2.ListVotesResponse()

    def CreateProblemSpec(self, request: Any, context: grpc.ServicerContext) -> problem_spec_pb2.ProblemSpec:
        self.recorder.note(request, context)
        self._hold(request.problem_spec_id == "held")
        return problem_spec_pb2.ProblemSpec(name=f"{request.parent}/problemSpecs/{request.problem_spec_id}")


class Training(
    runs_pb2_grpc.RunServiceServicer,
    policies_pb2_grpc.PolicyServiceServicer,
    batch_predictions_pb2_grpc.BatchPredictionServiceServicer,
):
    """Runs that only tell."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def add_to(self, server: grpc.Server) -> None:
        runs_pb2_grpc.add_RunServiceServicer_to_server(self, server)
        policies_pb2_grpc.add_PolicyServiceServicer_to_server(self, server)
        batch_predictions_pb2_grpc.add_BatchPredictionServiceServicer_to_server(self, server)

    def CreateBatchPrediction(self, request: Any, context: grpc.ServicerContext) -> batch_predictions_pb2.BatchPrediction:
        self.recorder.note(request, context)
        if request.batch_prediction_id == "taken":
            raise AlreadyExists("batch prediction", f"{request.parent}/batchPredictions/taken")
        return batch_predictions_pb2.BatchPrediction(name=f"{request.parent}/batchPredictions/{request.batch_prediction_id}")

    def CreateRun(self, request: Any, context: grpc.ServicerContext) -> runs_pb2.Run:
        self.recorder.note(request, context)
        return request.run

    def GetRun(self, request: Any, context: grpc.ServicerContext) -> runs_pb2.Run:
        self.recorder.note(request, context)
        return runs_pb2.Run(name=request.name, state=runs_pb2.RUN_STATE_RUNNING)

    def ListRuns(self, request: Any, context: grpc.ServicerContext) -> runs_pb2.ListRunsResponse:
        self.recorder.note(request, context)
        return runs_pb2.ListRunsResponse()

    def UpdatePolicy(self, request: Any, context: grpc.ServicerContext) -> policies_pb2.Policy:
        self.recorder.note(request, context)
        return request.policy

    def WatchRun(self, request: Any, context: grpc.ServicerContext) -> Iterator[runs_pb2.RunEvent]:
        self.recorder.note(request, context)
        if request.name.endswith("/missing"):
            raise NotFound("run", request.name)
        gone = threading.Event()

        def ended() -> None:
            gone.set()
            self.recorder.cancelled.set()

        # At the beginning: a caller may leave as soon as it has the last message, before the line after its `yield`.
        if request.name.endswith("/endless") and not context.add_callback(ended):
            ended()
        for sequence in range(request.after_sequence + 1, 4):
            yield runs_pb2.RunEvent(sequence=sequence, message=f"step {sequence}")
        if request.name.endswith("/fails"):
            raise NotFound("run", request.name, "It was deleted.")
        if request.name.endswith("/endless"):
            self.recorder.streaming.set()
            gone.wait(60)


class RunningGateway:
    """A gateway on an event loop of its own, in a thread."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._ready: Future[tuple[Gateway, str | None]] = Future()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()), daemon=True)
        self._thread.start()
        self.gateway, self.first_key = self._ready.result(30)
        self.http = f"{'https' if settings.gateway_cert_file else 'http'}://127.0.0.1:{self.gateway.http_port}"
        self.grpc = f"127.0.0.1:{self.gateway.grpc_port}"

    async def _main(self) -> None:
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        try:
            opened = await open_gateway(self._settings)
        except BaseException as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(opened)
        await self._asked.wait()
        await opened[0].stop(5.0)

    def hold(self, free: threading.Event) -> None:
        """Keeps its event loop busy until `free` is set, half a minute at most."""
        self._loop.call_soon_threadsafe(free.wait, 30)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._asked.set)
            self._thread.join(20)


class World:
    """Registry, labeling and training on free ports, one data folder for all; over TLS where their certificates are given."""

    def __init__(self, data_dir: Path, certificates: Mapping[str, Path] | None = None) -> None:
        self.data_dir = data_dir
        self._certificates = certificates or {}
        self.recorder = Recorder()
        self.labeling = Labeling(self.recorder)
        registry = RegistrySettings(**self._common(registry_address="127.0.0.1:0"))
        self.registry, self.certificate = start_registry(registry), own_certificate(registry)
        self._servers = [
            self._serve("labeling", self.labeling.add_to, ["regrow.labeling.v1.DatasetService"]),
            self._serve("training", Training(self.recorder).add_to, ["regrow.training.v1.RunService"]),
            self.registry,
        ]
        self.objects = DirectoryStore(data_dir / "objects")
        channel = internal_channel(
            f"127.0.0.1:{self.registry.port}", token=TOKEN, service="registry", certificate=self.certificate
        )
        self.models: Any = reg_rpc.ModelServiceStub(channel)
        self.versions: Any = reg_rpc.VersionServiceStub(channel)
        self.aliases: Any = reg_rpc.AliasServiceStub(channel)
        self.projects: Any = reg_rpc.ProjectServiceStub(channel)
        for project in ("shop", "bank"):
            self.projects.CreateProject(reg.CreateProjectRequest(project_id=project))

    def settings(self, **changes: Any) -> GatewaySettings:
        ports = [server.port for server in self._servers]
        fields: dict[str, Any] = {
            "gateway_http_address": "127.0.0.1:0", "gateway_grpc_address": "127.0.0.1:0",
            "labeling_address": f"127.0.0.1:{ports[0]}", "training_address": f"127.0.0.1:{ports[1]}",
            "registry_address": f"127.0.0.1:{ports[2]}",
        }  # fmt: skip
        return GatewaySettings(**self._common(**{**fields, **changes}))

    def environment(self, **changes: Any) -> dict[str, str]:
        """The same as environment variables, for a gateway in a process of its own."""
        fields = self.settings(**changes)
        own = {name: getattr(fields, name) for name in changes if name not in type(fields).__mro__[1].model_fields}
        names = ("gateway_http_address", "gateway_grpc_address", "labeling_address", "training_address", "registry_address")
        return {
            "REGROW_DATA_DIR": str(self.data_dir), "REGROW_INTERNAL_TOKEN": TOKEN,
            **{f"REGROW_{name.upper()}": getattr(fields, name) for name in names},
            **{f"REGROW_GATEWAY_{name.upper()}": str(value) for name, value in own.items()},
        }  # fmt: skip

    def model(self, model_id: str, project: str = "shop") -> str:
        name = f"projects/{project}/models/{model_id}"
        self.models.CreateModel(reg.CreateModelRequest(parent=f"projects/{project}", model_id=model_id))
        return name

    def version(self, model: str, *, digest: str = "", **content: Any) -> str:
        version = reg.Version(bundle_digest=digest or tiny_bundle(self.objects, **content))
        made: str = self.versions.CreateVersion(reg.CreateVersionRequest(parent=model, version=version)).name
        return made

    def promote(self, version: str, alias: str = "champion") -> None:
        name = f"{version.rpartition('/versions/')[0]}/aliases/{alias}"
        found = [one.etag for one in self._aliases_of(name) if one.name == name]
        self.aliases.SetAlias(reg.SetAliasRequest(name=name, version=version, etag=found[0] if found else ""))

    def champion(self, model_id: str, **content: Any) -> str:
        """A model whose first version is its champion."""
        model = self.model(model_id)
        self.promote(self.version(model, **content))
        return model

    def stop(self) -> None:
        for server in self._servers:
            server.stop(0)

    def _aliases_of(self, name: str) -> Any:
        return self.aliases.ListAliases(reg.ListAliasesRequest(parent=name.rpartition("/aliases/")[0])).aliases

    def _common(self, **changes: Any) -> dict[str, Any]:
        return {"data_dir": self.data_dir, "internal_token": TOKEN, **self._certificates, **changes}

    def _serve(self, name: str, add: Callable[[grpc.Server], None], services: list[str]) -> RunningServer:
        return serve(
            name=name, address="127.0.0.1:0", add_servicers=add, services=services, internal_token=TOKEN, ready={},
            certificate=self.certificate,
        )  # fmt: skip
