"""What REST and gRPC have in common for the protocol: who may ask what, and who answers it."""

from __future__ import annotations

from google.protobuf.message import Message

from regrow.gateway.v1 import gateway_pb2
from services.common.errors import InvalidField, PermissionDenied
from services.common.rpc.principal import Call
from services.gateway.calls import Calls
from services.gateway.http import Headers
from services.gateway.inference.prediction import Answer, Predictor
from services.gateway.methods import Method
from services.gateway.oip import names
from services.gateway.oip.asking import Asked
from services.gateway.oip.methods import INFER, inference_methods
from services.gateway.oip.names import Named
from services.gateway.policy import RULES, check_model, check_project

_INFER = inference_methods()[INFER]


class Door:
    """Belongs to the event loop. Every method runs inside `Calls.opened`."""

    def __init__(self, calls: Calls, predictor: Predictor) -> None:
        self.calls = calls
        self._predictor = predictor

    async def authenticate(self, method: Method, call: Call, authorization: str) -> Headers:
        """What a caller over REST hears of its rate. Raises `Unauthenticated`, `PermissionDenied`, `QuotaExceeded`."""
        if RULES[method.path].keyless:
            return []
        return self.calls.rate_headers(await self.calls.authenticate(method, call, authorization))

    async def answer(self, method: Method, call: Call, request: Message) -> Message:
        """The answer to any call but an inference. Raises `PermissionDenied`, `InvalidField`, and what its handler does."""
        field = RULES[method.path].project
        if field:
            name = getattr(request, field) or getattr(request, "repository_name", "")
            if name:
                named = names.read(name, getattr(request, "version", ""), field)
                call.request = _about(named)
                _admit(named, call)
            elif method.name != "ModelStatistics":
                raise InvalidField(field, "is empty: it names the model.")
        response = await self.calls.answer(method, request)
        assert isinstance(response, Message)
        return response

    async def infer(self, call: Call, asked: Asked) -> Answer:
        """Predicts. Raises `PermissionDenied`, and what `Predictor.answer` does."""
        try:
            _admit(asked.named, call)
        except PermissionDenied:
            call.request = _about(asked.named)
            raise
        return await self._predictor.answer(asked.named.resource, asked.rows)


def _admit(named: Named, call: Call) -> None:
    assert call.principal is not None
    check_project(named.project, call.principal)
    check_model(named.resource, call.principal)


def _about(named: Named) -> Message:
    """What an audit event takes the resource's name from: the protocol's messages have names of their own."""
    return gateway_pb2.GetServedModelRequest(name=named.resource)
