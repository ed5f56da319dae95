"""What training asks of labeling and the registry. Errors of the other side arrive as Regrow's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2

from regrow.labeling.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    feedback_ledger_pb2,
    feedback_ledger_pb2_grpc,
    label_sets_pb2,
    label_sets_pb2_grpc,
    problem_specs_pb2,
    problem_specs_pb2_grpc,
)
from regrow.registry.v1 import registry_pb2, registry_pb2_grpc
from services.common.errors import AlreadyExists
from services.common.spec import ProblemSpec
from services.common.spec_proto import spec_from_proto

CUT_SECONDS = 300.0
REGISTER_SECONDS = 120.0
MOST_REQUEST_ID = 100
_MOST_WHY = 1_000


class Labeling:
    """Data, specs, label sets. Safe for many threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._datasets = datasets_pb2_grpc.DatasetServiceStub(channel)
        self._specs = problem_specs_pb2_grpc.ProblemSpecServiceStub(channel)
        self._label_sets = label_sets_pb2_grpc.LabelSetServiceStub(channel)
        self._regrowth = feedback_ledger_pb2_grpc.RegrowthServiceStub(channel)

    def label_set(self, name: str) -> label_sets_pb2.LabelSet:
        """Raises `NotFound`."""
        found: label_sets_pb2.LabelSet = self._label_sets.GetLabelSet(label_sets_pb2.GetLabelSetRequest(name=name))
        return found

    def dataset_version(self, name: str) -> datasets_pb2.DatasetVersion:
        """Raises `NotFound`."""
        found: datasets_pb2.DatasetVersion = self._datasets.GetDatasetVersion(datasets_pb2.GetDatasetVersionRequest(name=name))
        return found

    def spec(self, name: str) -> ProblemSpec:
        """Raises `NotFound`."""
        return spec_from_proto(self._specs.GetProblemSpec(problem_specs_pb2.GetProblemSpecRequest(name=name)))

    def cut(
        self, *, model: str, base_label_set: str, offsets: Mapping[tuple[str, int], int], request_id: str
    ) -> feedback_ledger_pb2.CutLabelSetResponse:
        """Raises `FailedPrecondition` with reason `NOT_APPLIED_YET` (ask again) or `NO_FEEDBACK`."""
        cut = [
            feedback_ledger_pb2.PartitionOffset(topic=topic, partition=partition, offset=offset)
            for (topic, partition), offset in sorted(offsets.items())
        ]
        request = feedback_ledger_pb2.CutLabelSetRequest(
            model=model, base_label_set=base_label_set, offsets=cut, request_id=request_id
        )
        found: feedback_ledger_pb2.CutLabelSetResponse = self._regrowth.CutLabelSet(request, timeout=CUT_SECONDS)
        return found


class Registry:
    """Models, versions, aliases. Safe for many threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._models = registry_pb2_grpc.ModelServiceStub(channel)
        self._versions = registry_pb2_grpc.VersionServiceStub(channel)
        self._aliases = registry_pb2_grpc.AliasServiceStub(channel)

    def ensure_model(self, name: str) -> None:
        """Makes the model where it doesn't exist. Raises `NotFound` for its project."""
        parent, _, model = name.rpartition("/models/")
        with suppress(AlreadyExists):
            self._models.CreateModel(registry_pb2.CreateModelRequest(parent=parent, model_id=model))

    def model(self, name: str) -> registry_pb2.Model:
        """Raises `NotFound`."""
        found: registry_pb2.Model = self._models.GetModel(registry_pb2.GetModelRequest(name=name))
        return found

    def register(
        self,
        *,
        model: str,
        bundle_digest: str,
        run: str,
        receipt: Mapping[str, Any],
        scores: Mapping[str, float],
        request_id: str,
    ) -> str:
        """Answers the version's name; the same one for the same `request_id`."""
        version = registry_pb2.Version(bundle_digest=bundle_digest, run=run, receipt=_receipt(receipt), scores=dict(scores))
        request = registry_pb2.CreateVersionRequest(parent=model, version=version, request_id=request_id)
        return str(self._versions.CreateVersion(request, timeout=REGISTER_SECONDS).name)

    def version(self, name: str) -> registry_pb2.Version:
        """Raises `NotFound`."""
        found: registry_pb2.Version = self._versions.GetVersion(registry_pb2.GetVersionRequest(name=name))
        return found

    def alias(self, name: str) -> registry_pb2.Alias:
        """Raises `NotFound`."""
        found: registry_pb2.Alias = self._aliases.GetAlias(registry_pb2.GetAliasRequest(name=name))
        return found

    def set_alias(self, name: str, *, version: str, etag: str, why: str) -> None:
        """Raises `EtagMismatch` where somebody moved it first, unless it points there already."""
        self._aliases.SetAlias(registry_pb2.SetAliasRequest(name=name, version=version, etag=etag, why=why[:_MOST_WHY]))


def request_id_of(what: str, name: str) -> str:
    """The id of the one call that does `what` for the resource `name`, however often it is sent; at most 100 characters."""
    words = f"{what} {name}"
    return words if len(words) <= MOST_REQUEST_ID else f"{what} {hashlib.sha256(name.encode()).hexdigest()}"


def _receipt(plain: Mapping[str, Any]) -> registry_pb2.Receipt:
    fields = dict(plain)
    schedule = fields.pop("schedule", None)
    receipt = registry_pb2.Receipt(**fields)
    if schedule:
        receipt.schedule.CopyFrom(json_format.ParseDict(schedule, struct_pb2.Struct()))
    return receipt
