"""The public calls, read from the protos: what has a `google.api.http` annotation is public, nothing else is.

Everything that the gateway knows of a call (its route, its messages, where it is answered) comes from the descriptors, so a
new rpc is reachable as soon as its stubs are generated and `policy.RULES` has a line for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

GATEWAY = "gateway"
FILES = (
    "regrow.labeling.v1.datasets",
    "regrow.labeling.v1.problem_specs",
    "regrow.labeling.v1.labelers",
    "regrow.labeling.v1.votes",
    "regrow.labeling.v1.label_sets",
    "regrow.labeling.v1.annotation",
    "regrow.labeling.v1.feedback_ledger",
    "regrow.training.v1.designs",
    "regrow.training.v1.runs",
    "regrow.training.v1.policies",
    "regrow.training.v1.batch_predictions",
    "regrow.registry.v1.registry",
    "regrow.gateway.v1.gateway",
    "regrow.gateway.v1.audit",
    "regrow.gateway.v1.operations",
    "google.longrunning.operations",
)
HTTP_BODY = "google.api.HttpBody"
_STANDARD = {
    "google.longrunning.Operations.ListOperations": {"get": "/v1/{name=projects/*}/operations"},
    "google.longrunning.Operations.GetOperation": {"get": "/v1/{name=projects/*/operations/*}"},
    "google.longrunning.Operations.DeleteOperation": {"delete": "/v1/{name=projects/*/operations/*}"},
    "google.longrunning.Operations.CancelOperation": {"post": "/v1/{name=projects/*/operations/*}:cancel", "body": "*"},
    "google.longrunning.Operations.WaitOperation": {"post": "/v1/{name=projects/*/operations/*}:wait", "body": "*"},
}
"""Routes of Google's own service, whose proto has others: an operation of Regrow belongs to a project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One REST route of a call. `body` is `*`, a field, or empty for none."""

    verb: str
    template: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One public call. `path` is gRPC's (`/regrow.labeling.v1.DatasetService/GetDataset`), `home` the service that answers."""

    path: str
    service: str
    name: str
    home: str
    request: type[Message]
    response: type[Message]
    streams_requests: bool
    streams_responses: bool
    bindings: tuple[Binding, ...]
    upload_field: str
    descriptor: MethodDescriptor

    @property
    def raw_response(self) -> bool:
        """Whether the answer is bytes with a content type of their own."""
        return self.response.DESCRIPTOR.full_name == HTTP_BODY


@cache
def public_methods() -> Mapping[str, Method]:
    """All public calls by gRPC path."""
    return {method.path: method for method in _methods()}


@cache
def public_services() -> tuple[str, ...]:
    """Full names of the gRPC services with at least one public call."""
    return tuple(dict.fromkeys(method.service for method in public_methods().values()))


def _methods() -> Iterator[Method]:
    for name in FILES:
        file = importlib.import_module(f"{name}_pb2").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                standard = _STANDARD.get(method.full_name)
                rule = http_pb2.HttpRule(**standard) if standard else method.GetOptions().Extensions[annotations_pb2.http]
                if rule.WhichOneof("pattern"):
                    yield _method(method, rule)


def _method(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Method:
    service = method.containing_service
    streamed = bool(method.client_streaming)
    return Method(
        path=f"/{service.full_name}/{method.name}",
        service=service.full_name,
        name=method.name,
        home=service.full_name.split(".")[1] if service.full_name.startswith("regrow.") else GATEWAY,
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        streams_requests=streamed,
        streams_responses=bool(method.server_streaming),
        bindings=tuple(_binding(one) for one in (rule, *rule.additional_bindings)),
        upload_field=_bytes_field(method) if streamed else "",
        descriptor=method,
    )


def _binding(rule: http_pb2.HttpRule) -> Binding:
    verb: Any = rule.WhichOneof("pattern")
    if verb == "custom":
        return Binding(verb=rule.custom.kind, template=rule.custom.path, body=rule.body)
    return Binding(verb=verb.upper(), template=getattr(rule, verb), body=rule.body)


def _bytes_field(method: MethodDescriptor) -> str:
    """The field that carries a raw request body, for a stream that has exactly one field of bytes."""
    found = [field.name for field in method.input_type.fields if field.type == FieldDescriptor.TYPE_BYTES]
    return found[0] if len(found) == 1 else ""
