"""The whole service over real gRPC on a loopback port, through the channel that other services use."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from regrow.registry.v1 import registry_pb2 as pb
from regrow.registry.v1 import registry_pb2_grpc as rpc
from services.common.errors import (
    AlreadyExists,
    DigestMismatch,
    EtagMismatch,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RequestIdReused,
)
from services.common.events import REGISTRY, SqliteLog
from services.common.objects import MODELS, DirectoryStore
from services.common.rpc.client import internal_channel
from services.common.rpc.principal import Principal
from services.common.rpc.server import RunningServer
from services.registry.app import start
from services.registry.settings import RegistrySettings

TOKEN = "token-of-this-test"
TONE = "projects/default/models/tone"
SERVICE = Principal(key_id="service:training", role="service", name="training")
ADA = Principal(key_id="key-1", role="editor", projects=("default",), name="Ada")


class Client:
    """The five stubs on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.projects = rpc.ProjectServiceStub(channel)
        self.models = rpc.ModelServiceStub(channel)
        self.versions = rpc.VersionServiceStub(channel)
        self.aliases = rpc.AliasServiceStub(channel)
        self.artifacts = rpc.ArtifactServiceStub(channel)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[RunningServer]:
    server = start(RegistrySettings(data_dir=data_dir, registry_address="127.0.0.1:0", internal_token=TOKEN))
    yield server
    server.stop(0)


@pytest.fixture(scope="module")
def connect(server: RunningServer) -> Iterator[Callable[..., Client]]:
    channels: list[grpc.Channel] = []

    def connect(principal: Principal = SERVICE, token: str = TOKEN) -> Client:
        channels.append(internal_channel(f"127.0.0.1:{server.port}", token=token, principal=principal, service="registry"))
        return Client(channels[-1])

    yield connect
    for channel in channels:
        channel.close()


@pytest.fixture(scope="module")
def client(connect: Callable[..., Client]) -> Client:
    client = connect()
    client.models.CreateModel(pb.CreateModelRequest(parent="projects/default", model_id="tone"))
    return client


@pytest.fixture(scope="module")
def store(data_dir: Path) -> DirectoryStore:
    return DirectoryStore(data_dir / "objects")


def put(store: DirectoryStore, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    store.put(MODELS, f"sha256/{digest}", content)
    return f"sha256:{digest}"


def bundle(store: DirectoryStore, content: bytes) -> str:
    part = {"name": "graph.onnx", "digest": put(store, content), "size": len(content)}
    return put(store, json.dumps({"format": 1, "parts": [part]}).encode())


def register(client: Client, digest: str, model: str = TONE, **more: object) -> pb.Version:
    request = pb.CreateVersionRequest(parent=model, version=pb.Version(bundle_digest=digest), **more)
    return client.versions.CreateVersion(request)


def test_a_version_travels_from_bundle_to_champion_to_download(
    client: Client, connect: Callable[..., Client], store: DirectoryStore
) -> None:
    content = bytes(range(256)) * 12_000  # several chunks
    receipt = pb.Receipt(
        dataset_version="projects/default/datasets/d/versions/1", labelers=["a", "b"],
        feedback_offsets={"regrow.feedback/0": 2**40}, seed=2**60, software={"regrow": "0.1.0"},
    )  # fmt: skip
    json_format.ParseDict({"stages": [{"lr": 0.001, "text": "brew 🌱"}]}, receipt.schedule)
    sent = pb.Version(
        bundle_digest=bundle(store, content), run="projects/default/runs/r1", receipt=receipt,
        scores={"f1": 0.75, "ece": float("nan")},
    )  # fmt: skip
    made = client.versions.CreateVersion(pb.CreateVersionRequest(parent=TONE, version=sent, request_id="r1"))
    assert (made.name, made.number, made.run) == (f"{TONE}/versions/1", 1, sent.run)
    assert (made.bundle_digest, made.receipt, made.scores["f1"]) == (sent.bundle_digest, receipt, 0.75)
    assert made.scores["ece"] != made.scores["ece"]
    assert abs(made.create_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)

    ada = connect(ADA)
    alias = ada.aliases.SetAlias(pb.SetAliasRequest(name=f"{TONE}/aliases/champion", version=made.name, why="first"))
    assert (alias.version, alias.bundle_digest) == (made.name, made.bundle_digest)
    (move,) = client.aliases.ListAliasHistory(pb.ListAliasHistoryRequest(name=alias.name)).moves
    assert (move.from_version, move.to_version, move.moved_by, move.why) == ("", made.name, "Ada", "first")
    for name in ("latest", "@champion", "1"):
        assert ada.versions.GetVersion(pb.GetVersionRequest(name=f"{TONE}/versions/{name}")).name == made.name
        assert ada.versions.GetReceipt(pb.GetReceiptRequest(name=f"{TONE}/versions/{name}")) == receipt

    manifest, graph = ada.artifacts.ListArtifacts(pb.ListArtifactsRequest(parent=f"{TONE}/versions/@champion")).artifacts
    assert (manifest.part, manifest.digest) == ("manifest.json", made.bundle_digest)
    assert (graph.part, graph.size_bytes) == ("graph.onnx", len(content))
    assert made.size_bytes == manifest.size_bytes + graph.size_bytes
    chunks = list(ada.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(name=graph.name)))
    assert b"".join(chunk.data for chunk in chunks) == content
    assert len(chunks) > 1
    asked_for_a_link = ada.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(name=graph.name, link=True))
    assert b"".join(chunk.data for chunk in asked_for_a_link) == content  # a folder has no address for callers
    (only,) = ada.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(name=manifest.name))
    assert only.content_type == "application/json"
    assert json.loads(only.data)["parts"][0]["digest"] == graph.digest


def test_errors_reach_the_caller_as_what_they_are(client: Client, store: DirectoryStore) -> None:
    client.models.CreateModel(pb.CreateModelRequest(parent="projects/default", model_id="errors"))
    model = "projects/default/models/errors"
    digest = bundle(store, b"healthy")
    register(client, digest, model, request_id="r")
    champion = pb.SetAliasRequest(name=f"{model}/aliases/champion", version=f"{model}/versions/1")
    client.aliases.SetAlias(champion)
    register(client, bundle(store, b"other"), model)
    damaged = bundle(store, b"damaged")
    store.put(MODELS, f"sha256/{hashlib.sha256(b'damaged').hexdigest()}", b"DAMAGED")

    def refused(kind: type[Exception], call: Callable[[], object]) -> None:
        with pytest.raises(kind):
            call()

    refused(AlreadyExists, lambda: client.projects.CreateProject(pb.CreateProjectRequest(project_id="default")))
    refused(InvalidInput, lambda: client.projects.CreateProject(pb.CreateProjectRequest(project_id="Not An Id")))
    refused(FailedPrecondition, lambda: client.projects.DeleteProject(pb.DeleteProjectRequest(name="projects/default")))
    refused(NotFound, lambda: client.models.CreateModel(pb.CreateModelRequest(parent="projects/none", model_id="m")))
    refused(NotFound, lambda: register(client, digest, "projects/default/models/none"))
    refused(FailedPrecondition, lambda: register(client, "sha256:" + "0" * 64, model))
    refused(DigestMismatch, lambda: register(client, damaged, model))
    refused(InvalidInput, lambda: register(client, "sha256:short", model))
    refused(RequestIdReused, lambda: register(client, damaged, model, request_id="r"))
    champion.version = f"{model}/versions/2"
    refused(EtagMismatch, lambda: client.aliases.SetAlias(champion))
    as_of = Timestamp(seconds=1)
    refused(NotFound, lambda: client.aliases.GetAlias(pb.GetAliasRequest(name=champion.name, as_of=as_of)))
    endless = Timestamp(seconds=2**60)
    refused(InvalidInput, lambda: client.aliases.GetAlias(pb.GetAliasRequest(name=champion.name, as_of=endless)))
    refused(InvalidInput, lambda: client.versions.ListVersions(pb.ListVersionsRequest(parent=model, page_token="forged")))
    refused(InvalidInput, lambda: client.versions.ListVersions(pb.ListVersionsRequest(parent=model, page_size=-1)))
    assert register(client, digest, model, request_id="r").number == 1
    assert client.models.GetModel(pb.GetModelRequest(name=model)).latest_version == 2


def test_a_part_that_is_damaged_later_is_never_delivered_whole(client: Client, store: DirectoryStore) -> None:
    client.models.CreateModel(pb.CreateModelRequest(parent="projects/default", model_id="damaged"))
    content = b"z" * (3 << 20)
    version = register(client, bundle(store, content), "projects/default/models/damaged")
    graph = client.artifacts.ListArtifacts(pb.ListArtifactsRequest(parent=version.name)).artifacts[1]
    store.put(MODELS, f"sha256/{graph.digest.removeprefix('sha256:')}", b"z" * (len(content) - 1) + b"y")
    arrived = 0
    with pytest.raises(DigestMismatch):
        for chunk in client.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(name=graph.name)):
            arrived += len(chunk.data)
    assert arrived < len(content)


def test_callers_see_their_projects_and_only_services_see_across(connect: Callable[..., Client], client: Client) -> None:
    client.projects.CreateProject(pb.CreateProjectRequest(project_id="secret", project=pb.Project(description="not for Ada")))
    ada = connect(ADA)
    everything = pb.ListProjectsRequest()
    assert [p.name for p in ada.projects.ListProjects(everything).projects] == ["projects/default"]
    assert [p.name for p in client.projects.ListProjects(everything).projects] == ["projects/default", "projects/secret"]
    for call in (
        lambda: ada.aliases.ListAliases(pb.ListAliasesRequest(parent="projects/-/models/-")),
        lambda: ada.models.ListModels(pb.ListModelsRequest(parent="projects/-")),
    ):
        with pytest.raises(PermissionDenied):
            call()
    client.aliases.ListAliases(pb.ListAliasesRequest(parent="projects/-/models/-"))
    assert TONE in [model.name for model in client.models.ListModels(pb.ListModelsRequest(parent="projects/-")).models]
    with pytest.raises(InvalidInput):
        client.aliases.ListAliases(pb.ListAliasesRequest(parent="projects/default/models/-"))


def test_a_call_without_the_internal_token_is_refused(server: RunningServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        rpc.ProjectServiceStub(channel).ListProjects(pb.ListProjectsRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_server_says_that_it_is_healthy_to_anyone(server: RunningServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "regrow.registry.v1.AliasService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_move_is_in_the_event_log_a_moment_after_the_answer(client: Client, store: DirectoryStore, data_dir: Path) -> None:
    client.models.CreateModel(pb.CreateModelRequest(parent="projects/default", model_id="told"))
    model = "projects/default/models/told"
    version = register(client, bundle(store, b"told"), model)
    log = SqliteLog(data_dir / "events.db")
    consumer = log.consumer([REGISTRY], start="latest")
    try:
        consumer.poll(timeout=timedelta(0))
        client.aliases.SetAlias(pb.SetAliasRequest(name=f"{model}/aliases/champion", version=version.name))
        deadline = time.monotonic() + 5
        subjects: list[str] = []
        while f"{model}/aliases/champion" not in subjects and time.monotonic() < deadline:
            subjects += [record.headers["ce_subject"] for record in consumer.poll(timeout=timedelta(milliseconds=200))]
        assert subjects[-1] == f"{model}/aliases/champion"
    finally:
        consumer.close()
        log.close()
