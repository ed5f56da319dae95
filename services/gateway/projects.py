"""Whether a project, or a model in it, exists.

A mistyped one is refused at the door, before a service keeps something that nobody finds again.
"""

from __future__ import annotations

import time
from typing import Any

import grpc

from regrow.registry.v1 import registry_pb2, registry_pb2_grpc
from services.common.errors import NotFound

_KEPT_SECONDS = 600.0
_PATIENCE_SECONDS = 2.0


class Projects:
    """Asks the registry, and keeps for ten minutes which projects exist. A registry that doesn't answer stops nobody."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._projects: Any = registry_pb2_grpc.ProjectServiceStub(channel)
        self._models: Any = registry_pb2_grpc.ModelServiceStub(channel)
        self._known_until: dict[str, float] = {}

    async def check(self, project: str) -> None:
        """Raises `NotFound`."""
        if self._known_until.get(project, 0.0) > time.monotonic():
            return
        name = f"projects/{project}"
        try:
            await self._projects.GetProject(registry_pb2.GetProjectRequest(name=name), timeout=_PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise NotFound("project", name, "ListProjects shows those that exist.") from None
            return
        self._known_until[project] = time.monotonic() + _KEPT_SECONDS

    async def check_model(self, name: str, hint: str) -> None:
        """Raises `NotFound` with the hint. Asks each time: a model is looked for when a key is made, and seldom else."""
        try:
            await self._models.GetModel(registry_pb2.GetModelRequest(name=name), timeout=_PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise NotFound("model", name, hint) from None

    def forget(self) -> None:
        """Asks anew from now on: a project was deleted."""
        self._known_until.clear()
