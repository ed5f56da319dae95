"""The gRPC edge: requests to use cases, nouns to messages, and nothing else.

Who may call what is decided at the gateway. What is decided here is what only services may ask: the lists over all projects.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.registry.v1 import registry_pb2 as pb
from regrow.registry.v1 import registry_pb2_grpc as rpc
from services.common.errors import InvalidField, PermissionDenied
from services.common.idempotency import fingerprint
from services.common.objects.port import LINK_TYPE
from services.common.rpc.principal import ALL_PROJECTS, current_principal
from services.registry.bundles import MANIFEST
from services.registry.handlers import ANY, Registry
from services.registry.models import (
    Alias,
    AliasRef,
    Model,
    Move,
    NewVersion,
    Once,
    Part,
    Project,
    Version,
    project_name,
    version_name,
)

_NAMES = ("ProjectService", "ModelService", "VersionService", "AliasService", "ArtifactService")
SERVICES = tuple(f"regrow.registry.v1.{name}" for name in _NAMES)
_Context = grpc.ServicerContext


def add_servicers(server: grpc.Server, registry: Registry) -> None:
    """Registers the five services."""
    rpc.add_ProjectServiceServicer_to_server(Projects(registry), server)
    rpc.add_ModelServiceServicer_to_server(Models(registry), server)
    rpc.add_VersionServiceServicer_to_server(Versions(registry), server)
    rpc.add_AliasServiceServicer_to_server(Aliases(registry), server)
    rpc.add_ArtifactServiceServicer_to_server(Artifacts(registry), server)


class Projects(rpc.ProjectServiceServicer):
    """regrow.registry.v1.ProjectService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def CreateProject(self, request: pb.CreateProjectRequest, context: _Context) -> pb.Project:
        """See the proto."""
        return _project(self._registry.create_project(request.project_id, request.project.description, _once(request)))

    def GetProject(self, request: pb.GetProjectRequest, context: _Context) -> pb.Project:
        """See the proto."""
        return _project(self._registry.get_project(request.name))

    def ListProjects(self, request: pb.ListProjectsRequest, context: _Context) -> pb.ListProjectsResponse:
        """See the proto."""
        allowed = current_principal().projects
        only = None if ALL_PROJECTS in allowed else frozenset(allowed)
        listing = self._registry.list_projects(
            only, request.page_size, request.page_token, filter=request.filter, order_by=request.order_by
        )
        return pb.ListProjectsResponse(projects=map(_project, listing.items), next_page_token=listing.next_token)

    def DeleteProject(self, request: pb.DeleteProjectRequest, context: _Context) -> pb.DeleteProjectResponse:
        """See the proto."""
        self._registry.delete_project(request.name)
        return pb.DeleteProjectResponse()


class Models(rpc.ModelServiceServicer):
    """regrow.registry.v1.ModelService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def CreateModel(self, request: pb.CreateModelRequest, context: _Context) -> pb.Model:
        """See the proto."""
        return _model(self._registry.create_model(request.parent, request.model_id, request.model.description, _once(request)))

    def GetModel(self, request: pb.GetModelRequest, context: _Context) -> pb.Model:
        """See the proto."""
        return _model(self._registry.get_model(request.name))

    def ListModels(self, request: pb.ListModelsRequest, context: _Context) -> pb.ListModelsResponse:
        """See the proto."""
        _check_wildcard(request.parent)
        listing = self._registry.list_models(
            request.parent, request.page_size, request.page_token, filter=request.filter, order_by=request.order_by
        )
        return pb.ListModelsResponse(models=map(_model, listing.items), next_page_token=listing.next_token)


class Versions(rpc.VersionServiceServicer):
    """regrow.registry.v1.VersionService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def CreateVersion(self, request: pb.CreateVersionRequest, context: _Context) -> pb.Version:
        """See the proto."""
        return _version(self._registry.create_version(request.parent, _new_version(request.version), _once(request)))

    def GetVersion(self, request: pb.GetVersionRequest, context: _Context) -> pb.Version:
        """See the proto."""
        return _version(self._registry.get_version(request.name))

    def ListVersions(self, request: pb.ListVersionsRequest, context: _Context) -> pb.ListVersionsResponse:
        """See the proto."""
        listing = self._registry.list_versions(
            request.parent, request.page_size, request.page_token, filter=request.filter, order_by=request.order_by
        )
        return pb.ListVersionsResponse(versions=map(_version, listing.items), next_page_token=listing.next_token)

    def GetReceipt(self, request: pb.GetReceiptRequest, context: _Context) -> pb.Receipt:
        """See the proto."""
        return _receipt(self._registry.get_version(request.name))


class Aliases(rpc.AliasServiceServicer):
    """regrow.registry.v1.AliasService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def SetAlias(self, request: pb.SetAliasRequest, context: _Context) -> pb.Alias:
        """See the proto."""
        caller = current_principal()
        who = caller.name or caller.key_id
        return _alias(self._registry.set_alias(request.name, request.version, request.etag, moved_by=who, why=request.why))

    def GetAlias(self, request: pb.GetAliasRequest, context: _Context) -> pb.Alias:
        """See the proto."""
        return _alias(self._registry.get_alias(request.name, _moment(request.as_of) if request.HasField("as_of") else None))

    def ListAliases(self, request: pb.ListAliasesRequest, context: _Context) -> pb.ListAliasesResponse:
        """See the proto."""
        _check_wildcard(request.parent)
        listing = self._registry.list_aliases(
            request.parent, request.page_size, request.page_token, filter=request.filter, order_by=request.order_by
        )
        return pb.ListAliasesResponse(aliases=map(_alias, listing.items), next_page_token=listing.next_token)

    def ListAliasHistory(self, request: pb.ListAliasHistoryRequest, context: _Context) -> pb.ListAliasHistoryResponse:
        """See the proto."""
        listing = self._registry.list_moves(
            request.name, request.page_size, request.page_token, filter=request.filter, order_by=request.order_by
        )
        moves = [_move(request.name, move) for move in listing.items]
        return pb.ListAliasHistoryResponse(moves=moves, next_page_token=listing.next_token)


class Artifacts(rpc.ArtifactServiceServicer):
    """regrow.registry.v1.ArtifactService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def ListArtifacts(self, request: pb.ListArtifactsRequest, context: _Context) -> pb.ListArtifactsResponse:
        """See the proto."""
        version, listing = self._registry.list_parts(request.parent, request.page_size, request.page_token)
        artifacts = [_artifact(version, part) for part in listing.items]
        return pb.ListArtifactsResponse(artifacts=artifacts, next_page_token=listing.next_token)

    def DownloadArtifact(self, request: pb.DownloadArtifactRequest, context: _Context) -> Iterator[HttpBody]:
        """See the proto."""
        if request.link and (link := self._registry.link_artifact(request.name)) is not None:
            yield HttpBody(content_type=LINK_TYPE, data=f"{link}\r\n".encode())
            return
        part, chunks = self._registry.open_artifact(request.name)
        kind = "application/json" if part.name == MANIFEST else "application/octet-stream"
        for chunk in chunks:
            yield HttpBody(content_type=kind, data=chunk)


def _check_wildcard(parent: str) -> None:
    if f"/{ANY}" in parent and current_principal().role != "service":
        raise PermissionDenied(f"'{parent}' asks for all projects, which only Regrow's own services may. Name a project.")


def _once(request: Any) -> Once:
    return Once(request_id=request.request_id, fingerprint=fingerprint(request) if request.request_id else "")


def _new_version(version: pb.Version) -> NewVersion:
    try:
        receipt = json_format.MessageToJson(version.receipt, indent=None)
    except json_format.SerializeToJsonError:
        problem = "has a number in its schedule that JSON can't say: NaN or an infinity."
        raise InvalidField("version.receipt", problem) from None
    return NewVersion(bundle_digest=version.bundle_digest, run=version.run, receipt=receipt, scores=dict(version.scores))


def _moment(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidField("as_of", "isn't a time between the years 1 and 9999.") from None


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _project(project: Project) -> pb.Project:
    return pb.Project(name=project_name(project.id), description=project.description, create_time=_stamp(project.created))


def _model(model: Model) -> pb.Model:
    return pb.Model(
        name=model.ref.name, description=model.description, latest_version=model.latest, aliases=map(_alias, model.aliases),
        create_time=_stamp(model.created),
    )  # fmt: skip


def _version(version: Version) -> pb.Version:
    return pb.Version(
        name=version.name, number=version.number, bundle_digest=version.bundle_digest, run=version.run,
        receipt=_receipt(version), scores=version.scores, create_time=_stamp(version.created), size_bytes=version.size,
    )  # fmt: skip


def _receipt(version: Version) -> pb.Receipt:
    return json_format.Parse(version.receipt, pb.Receipt(), ignore_unknown_fields=True)


def _alias(alias: Alias) -> pb.Alias:
    return pb.Alias(
        name=alias.ref.name, version=alias.version_name, bundle_digest=alias.bundle_digest, etag=alias.etag,
        move_time=_stamp(alias.moved),
    )  # fmt: skip


def _move(alias_name: str, move: Move) -> pb.AliasMove:
    model = AliasRef.parse(alias_name).model
    return pb.AliasMove(
        from_version=version_name(model, move.from_version), to_version=version_name(model, move.to_version),
        move_time=_stamp(move.moved), moved_by=move.moved_by, why=move.why,
    )  # fmt: skip


def _artifact(version: Version, part: Part) -> pb.Artifact:
    hexadecimal = part.digest.removeprefix("sha256:")
    return pb.Artifact(name=f"{version.name}/artifacts/{hexadecimal}", part=part.name, digest=part.digest, size_bytes=part.size)
