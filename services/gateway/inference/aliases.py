"""What the registry says: which version each alias of each model points to, and the last of it kept on disk.

A table is always read anew and whole, one reading after the other, so a later table is never older than an earlier one.
The copy on disk lets a gateway that starts while the registry is down serve what was served last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from regrow.registry.v1 import registry_pb2, registry_pb2_grpc
from services.common.errors import NotFound
from services.common.rpc.status import calling

CHAMPION = "champion"
_EVERYTHING = "projects/-/models/-"
_PAGE = 1000
_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A version to serve. `name` is the version's resource name, `digest` its bundle's."""

    name: str
    digest: str

    @property
    def model(self) -> str:
        """The model's resource name."""
        return self.name.rpartition("/versions/")[0]

    @property
    def number(self) -> int:
        """The version's number."""
        return int(self.name.rpartition("/")[2])


def project_of(name: str) -> str:
    """The id of the project that a resource is of."""
    return name.split("/")[1]


Aliases = Mapping[str, Mapping[str, Target]]
"""Model -> alias -> version."""


class RegistryView:
    """Reads the registry as a service. Raises `EngineUnavailable` where it doesn't answer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._aliases: Any = registry_pb2_grpc.AliasServiceStub(channel)
        self._versions: Any = registry_pb2_grpc.VersionServiceStub(channel)
        self._models: Any = registry_pb2_grpc.ModelServiceStub(channel)

    async def aliases(self) -> Aliases:
        """All aliases of all models."""
        found: dict[str, dict[str, Target]] = {}
        token = ""
        while True:
            request = registry_pb2.ListAliasesRequest(parent=_EVERYTHING, page_size=_PAGE, page_token=token)
            with calling("registry"):
                page = await self._aliases.ListAliases(request, timeout=_SECONDS)
            for alias in page.aliases:
                model, _, name = alias.name.partition("/aliases/")
                found.setdefault(model, {})[name] = Target(name=alias.version, digest=alias.bundle_digest)
            token = page.next_page_token
            if not token:
                return found

    async def version(self, name: str) -> Target:
        """One version. Raises `NotFound`."""
        with calling("registry"):
            version = await self._versions.GetVersion(registry_pb2.GetVersionRequest(name=name), timeout=_SECONDS)
        return Target(name=version.name, digest=version.bundle_digest)

    async def has_model(self, name: str) -> bool:
        """Whether the model exists."""
        try:
            with calling("registry"):
                await self._models.GetModel(registry_pb2.GetModelRequest(name=name), timeout=_SECONDS)
        except NotFound:
            return False
        return True


def save(aliases: Aliases, path: Path) -> None:
    """Replaces the copy on disk. A disk that fails is logged: the copy is only for a start without the registry."""
    content = {model: {name: asdict(target) for name, target in targets.items()} for model, targets in aliases.items()}
    partial = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content))
        partial.replace(path)
    except OSError as error:
        log.warning("the copy of the aliases can't be written", path=str(path), problem=error.strerror)


def load(path: Path) -> Aliases:
    """The copy on disk; empty where there is none, or none that can be read."""
    try:
        content: dict[str, dict[str, dict[str, str]]] = json.loads(path.read_text())
        return {model: {name: Target(**target) for name, target in targets.items()} for model, targets in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        log.warning("the copy of the aliases can't be read", path=str(path))
        return {}
