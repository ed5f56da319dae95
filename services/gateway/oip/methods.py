"""The calls of the protocol: their messages from the descriptors, their REST routes as the protocol and Triton have them.

They are `Method`s like all public calls, so what opens, admits and counts those does the same for these; but they have no
annotation, for their proto is others' too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf.message_factory import GetMessageClass

from services.gateway.methods import GATEWAY, Binding, Method
from services.gateway.oip.stubs import grpc_service_pb2

SERVICE = "inference.GRPCInferenceService"
INFER, STREAM = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelStreamInfer"

_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"


def _routes(verb: str, *templates: str) -> tuple[Binding, ...]:
    return tuple(Binding(verb=verb, template=template, body="*" if verb == "POST" else "") for template in templates)


def _shared_memory(kind: str) -> dict[str, tuple[Binding, ...]]:
    home = f"/v2/{kind.lower()}sharedmemory"
    return {
        f"{kind}SharedMemoryStatus": _routes("GET", f"{home}/status", f"{home}/region/{{name}}/status"),
        f"{kind}SharedMemoryRegister": _routes("POST", f"{home}/region/{{name}}/register"),
        f"{kind}SharedMemoryUnregister": _routes("POST", f"{home}/unregister", f"{home}/region/{{name}}/unregister"),
    }


_BINDINGS: dict[str, tuple[Binding, ...]] = {
    "ServerLive": _routes("GET", "/v2/health/live"),
    "ServerReady": _routes("GET", "/v2/health/ready"),
    "ModelReady": _routes("GET", f"{_MODEL}/ready", f"{_VERSION}/ready"),
    "ServerMetadata": _routes("GET", "/v2"),
    "ModelMetadata": _routes("GET", _MODEL, _VERSION),
    "ModelInfer": _routes("POST", f"{_MODEL}/infer", f"{_VERSION}/infer"),
    "ModelStreamInfer": (),
    "ModelConfig": _routes("GET", f"{_MODEL}/config", f"{_VERSION}/config"),
    "ModelStatistics": _routes("GET", "/v2/models/stats", f"{_MODEL}/stats", f"{_VERSION}/stats"),
    "RepositoryIndex": _routes("POST", "/v2/repository/index"),
    "RepositoryModelLoad": _routes("POST", "/v2/repository/models/{model_name}/load"),
    "RepositoryModelUnload": _routes("POST", "/v2/repository/models/{model_name}/unload"),
    **_shared_memory("System"),
    **_shared_memory("Cuda"),
    "TraceSetting": (
        *_routes("GET", "/v2/trace/setting", "/v2/models/{model_name}/trace/setting"),
        *_routes("POST", "/v2/trace/setting", "/v2/models/{model_name}/trace/setting"),
    ),
    "LogSettings": (*_routes("GET", "/v2/logging"), *_routes("POST", "/v2/logging")),
}

FEEDBACK = Binding(verb="POST", template="/v2/models/{name}/feedback", body="*")
"""Of ours: what the protocol lacks. It is `BatchSendFeedback`, in the protocol's style."""

_NO_SHARED_MEMORY = "The gateway shares no memory with its callers. Send the elements of tensors in the request."
UNSUPPORTED = {
    **dict.fromkeys(
        (f"{kind}SharedMemory{what}" for kind in ("System", "Cuda") for what in ("Status", "Register", "Unregister")),
        _NO_SHARED_MEMORY,
    ),
    "TraceSetting": "What is traced is set where the gateway is started: `python -m services.gateway --print-config`.",
    "LogSettings": "What is logged is set where the gateway is started, by REGROW_LOG_LEVEL.",
}
"""Calls of Triton that mean nothing here, and what their callers hear."""


@cache
def inference_methods() -> Mapping[str, Method]:
    """All calls by gRPC path."""
    service = grpc_service_pb2.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]]
    found = [
        Method(
            path=f"/{SERVICE}/{method.name}", service=SERVICE, name=method.name, home=GATEWAY,
            request=GetMessageClass(method.input_type), response=GetMessageClass(method.output_type),
            streams_requests=bool(method.client_streaming), streams_responses=bool(method.server_streaming),
            bindings=_BINDINGS[method.name], upload_field="", descriptor=method,
        )
        for method in service.methods
    ]  # fmt: skip
    return {method.path: method for method in found}
