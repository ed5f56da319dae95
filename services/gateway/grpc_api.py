"""The calls that the gateway answers itself, by gRPC path. Proto in, proto out; the work is done elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from regrow.gateway.v1 import gateway_pb2
from services.common.database import Database
from services.common.names import parse
from services.common.rpc.principal import current_principal
from services.gateway.calls import Local
from services.gateway.feedback import Feedback
from services.gateway.inference.prediction import Predictor
from services.gateway.keys import handlers
from services.gateway.keys.ring import KeyRing
from services.gateway.keys.rules import Key
from services.gateway.system import System

_PACKAGE = "/regrow.gateway.v1."


def local_calls(predictor: Predictor, feedback: Feedback, keys: KeyApi, system: System) -> Mapping[str, Local]:
    """The handlers of every rpc of `regrow.gateway.v1`."""
    return {
        f"{_PACKAGE}PredictionService/Predict": predictor.predict,
        f"{_PACKAGE}PredictionService/GetServedModel": predictor.served,
        f"{_PACKAGE}FeedbackService/SendFeedback": feedback.send,
        f"{_PACKAGE}FeedbackService/BatchSendFeedback": feedback.batch_send,
        f"{_PACKAGE}KeyService/CreateKey": keys.create,
        f"{_PACKAGE}KeyService/ListKeys": keys.list_keys,
        f"{_PACKAGE}KeyService/RevokeKey": keys.revoke,
        f"{_PACKAGE}KeyService/GetCaller": keys.caller,
        f"{_PACKAGE}SystemService/GetStatus": system.get_status,
    }


class KeyApi:
    """`KeyService`. The database is read and written in threads."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    async def create(self, request: gateway_pb2.CreateKeyRequest) -> gateway_pb2.CreateKeyResponse:
        """The key and, this one time, its secret."""
        key, secret = await asyncio.to_thread(
            handlers.create,
            self._database,
            current_principal(),
            display_name=request.key.display_name,
            role=_role_name(request.key.role),
            projects=list(request.key.projects),
        )
        self._ring.put(key)
        return gateway_pb2.CreateKeyResponse(key=self._proto(key), secret=secret)

    async def list_keys(self, request: gateway_pb2.ListKeysRequest) -> gateway_pb2.ListKeysResponse:
        """A page, newest first."""
        keys, token = await asyncio.to_thread(
            handlers.list_keys,
            self._database,
            current_principal(),
            size=request.page_size,
            token=request.page_token,
            revoked=request.show_revoked,
        )
        return gateway_pb2.ListKeysResponse(keys=[self._proto(key) for key in keys], next_page_token=token)

    async def revoke(self, request: gateway_pb2.RevokeKeyRequest) -> gateway_pb2.Key:
        """No call with this key begins after the answer."""
        key_id = parse("keys/{key}", request.name)["key"]
        key = await asyncio.to_thread(handlers.revoke, self._database, current_principal(), key_id)
        self._ring.put(key)
        return self._proto(key)

    async def caller(self, _: gateway_pb2.GetCallerRequest) -> gateway_pb2.Key:
        """Who calls."""
        return self._proto(self._ring.key(current_principal().key_id))

    def _proto(self, key: Key) -> gateway_pb2.Key:
        message = gateway_pb2.Key(
            name=f"keys/{key.id}", display_name=key.display_name, role=f"ROLE_{key.role.upper()}",
            projects=[f"projects/{project}" for project in key.projects], prefix=f"rg_{key.prefix}",
        )  # fmt: skip
        message.create_time.FromDatetime(key.created)
        if (used := self._ring.last_used(key)) is not None:
            message.last_use_time.FromDatetime(used)
        if key.revoked is not None:
            message.revoke_time.FromDatetime(key.revoked)
        return message


def _role_name(role: gateway_pb2.Role) -> str:
    return gateway_pb2.Role.Name(role).removeprefix("ROLE_").lower()
