"""The calls of the protocol about the server and its models: what is there, what it looks like, what it did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson
from google.protobuf.message import Message

from services.common.errors import FailedPrecondition, InvalidField, Unsupported
from services.common.rpc.principal import current_principal
from services.gateway.inference.aliases import Target, project_of
from services.gateway.inference.loading import Loaded
from services.gateway.inference.serving import Serving
from services.gateway.oip import describing, names
from services.gateway.oip.grpc_messages import value_of
from services.gateway.oip.methods import SERVICE, UNSUPPORTED
from services.gateway.oip.stubs import grpc_service_pb2
from services.gateway.system import System, software_version

EXTENSIONS = (
    "classification", "binary_tensor_data", "model_configuration", "model_repository", "statistics", "parameters", "feedback",
)  # fmt: skip
_MOST_VERSIONS = 100

Handler = Callable[[Any], Awaitable[Message]]


class Repository:
    """Belongs to the event loop. Every handler takes a request that was admitted."""

    def __init__(self, serving: Serving, system: System, threads: int) -> None:
        self._serving = serving
        self._system = system
        self._threads = threads

    def handlers(self) -> Mapping[str, Handler]:
        """By gRPC path: every call that isn't an inference."""
        found: dict[str, Handler] = {
            "ServerLive": self.server_live, "ServerReady": self.server_ready, "ServerMetadata": self.server_metadata,
            "ModelReady": self.model_ready, "ModelMetadata": self.model_metadata, "ModelConfig": self.model_config,
            "ModelStatistics": self.statistics, "RepositoryIndex": self.index, "RepositoryModelLoad": self.load,
            "RepositoryModelUnload": self.unload,
        }  # fmt: skip
        found |= {name: _unsupported(why) for name, why in UNSUPPORTED.items()}
        return {f"/{SERVICE}/{name}": handler for name, handler in found.items()}

    async def server_live(self, _: Message) -> grpc_service_pb2.ServerLiveResponse:
        """Who can answer lives."""
        return grpc_service_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, _: Message) -> grpc_service_pb2.ServerReadyResponse:
        """As `/readyz` tells it."""
        return grpc_service_pb2.ServerReadyResponse(ready=(await self._system.readiness()).ready)

    async def server_metadata(self, _: Message) -> grpc_service_pb2.ServerMetadataResponse:
        """What the server is."""
        return grpc_service_pb2.ServerMetadataResponse(name="regrow", version=software_version(), extensions=EXTENSIONS)

    async def model_ready(self, request: grpc_service_pb2.ModelReadyRequest) -> grpc_service_pb2.ModelReadyResponse:
        """Whether it would answer at once."""
        named = names.read(request.name, request.version)
        return grpc_service_pb2.ModelReadyResponse(ready=self._serving.in_memory(named.resource) is not None)

    async def model_metadata(self, request: grpc_service_pb2.ModelMetadataRequest) -> grpc_service_pb2.ModelMetadataResponse:
        """Inputs and outputs."""
        loaded = await self._find(request.name, request.version)
        return describing.metadata(loaded, self._versions(loaded))

    async def model_config(self, request: grpc_service_pb2.ModelConfigRequest) -> grpc_service_pb2.ModelConfigResponse:
        """Triton's configuration."""
        loaded = await self._find(request.name, request.version)
        return grpc_service_pb2.ModelConfigResponse(config=describing.config(loaded, self._versions(loaded), self._threads))

    async def statistics(self, request: grpc_service_pb2.ModelStatisticsRequest) -> grpc_service_pb2.ModelStatisticsResponse:
        """Of one version, of a model's in memory, or of all in memory that the caller may see."""
        if request.version:
            found = [await self._find(request.name, request.version)]
        elif request.name:
            one = await self._find(request.name, "")
            found = [loaded for loaded in self._loaded() if loaded.target.model == one.target.model]
        else:
            found = list(self._loaded())
        found.sort(key=lambda loaded: (loaded.target.model, loaded.target.number))
        return grpc_service_pb2.ModelStatisticsResponse(model_stats=[describing.statistics(loaded) for loaded in found])

    async def index(self, request: grpc_service_pb2.RepositoryIndexRequest) -> grpc_service_pb2.RepositoryIndexResponse:
        """By model and version, what answers and what an alias waits for."""
        rows = {loaded.target: ("READY", "") for loaded in self._loaded()}
        for target, problem in () if request.ready else self._serving.awaited():
            if target not in rows and _is_visible(target):
                rows[target] = ("UNAVAILABLE", problem) if problem else ("LOADING", "")
        found = grpc_service_pb2.RepositoryIndexResponse()
        for target, (state, reason) in sorted(rows.items(), key=lambda row: (row[0].model, row[0].number)):
            found.models.add(name=names.written(target.name), version=str(target.number), state=state, reason=reason)
        return found

    async def load(self, request: grpc_service_pb2.RepositoryModelLoadRequest) -> grpc_service_pb2.RepositoryModelLoadResponse:
        """Loads and tries each version that is asked for, the champion where none is."""
        name = request.model_name or request.repository_name
        parameters = {key: value_of(value) for key, value in request.parameters.items()}
        if any(key.startswith("file:") for key in parameters):
            raise Unsupported("A model's files can't be sent: its versions are registered, and loaded by their numbers.")
        for version in _versions_in(parameters.get("config")):
            await self._find(name, version)
        return grpc_service_pb2.RepositoryModelLoadResponse()

    async def unload(
        self, request: grpc_service_pb2.RepositoryModelUnloadRequest
    ) -> grpc_service_pb2.RepositoryModelUnloadResponse:
        """Frees what was loaded by number. What an alias points to goes on: callers count on it."""
        model = names.read(request.model_name or request.repository_name, "", "model_name").model
        if not self._serving.evict(model) and any(loaded.target.model == model for loaded in self._loaded()):
            raise FailedPrecondition(
                f"All of '{model}' in memory answers for an alias. Delete or move its aliases to take it out of service.",
                reason="SERVED_BY_ALIAS",
            )
        return grpc_service_pb2.RepositoryModelUnloadResponse()

    async def _find(self, name: str, version: str) -> Loaded:
        return await self._serving.find(names.read(name, version).resource)

    def _loaded(self) -> Iterator[Loaded]:
        return (loaded for loaded, _ in self._serving.loaded() if _is_visible(loaded.target))

    def _versions(self, described: Loaded) -> list[int]:
        same = {loaded.target.number for loaded in self._loaded() if loaded.target.model == described.target.model}
        return sorted(same | {described.target.number})


def _unsupported(why: str) -> Handler:
    async def refuse(_: Any) -> Message:
        raise Unsupported(why)

    return refuse


def _is_visible(target: Target) -> bool:
    caller = current_principal()
    return caller.may_enter(project_of(target.name)) and caller.may_use(target.model)


def _versions_in(config: object) -> list[str]:
    """The versions that Triton's model configuration asks for; `[""]`, the champion, for none. Raises `InvalidField`."""
    if not config:
        return [""]
    try:
        policy = orjson.loads(str(config)).get("version_policy")
        versions = policy["specific"]["versions"] if policy else [""]
        if not isinstance(versions, list) or not 1 <= len(versions) <= _MOST_VERSIONS:
            raise InvalidField("parameters.config", f"must name 1 to {_MOST_VERSIONS} versions.")
        return [str(version) for version in versions]
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        example = '{"version_policy": {"specific": {"versions": [3]}}}'
        raise InvalidField("parameters.config", f"isn't JSON that names versions: {example}.") from None
