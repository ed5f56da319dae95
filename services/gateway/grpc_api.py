"""The calls that the gateway answers itself, by gRPC path. Proto in, proto out; the work is done elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from regrow.gateway.v1 import gateway_pb2
from services.common.database import now
from services.common.durations import span
from services.common.errors import InvalidField
from services.common.listing import asked
from services.common.names import parse
from services.common.rpc.principal import ALL_PROJECTS, current_principal
from services.gateway.audit.grpc_api import AuditApi
from services.gateway.calls import Local, LocalStream
from services.gateway.events import EventApi
from services.gateway.feedback.door import Feedback
from services.gateway.feedback.stream import FeedbackStreams
from services.gateway.inference.prediction import Predictor
from services.gateway.keys.handlers import Keys, Wish, checked_wish
from services.gateway.keys.ring import KeyRing
from services.gateway.keys.rules import DEFAULT_GRACE, Key
from services.gateway.limits.limiter import Limiter
from services.gateway.limits.rules import Limits, until_midnight
from services.gateway.projects import Projects
from services.gateway.system import System

_PACKAGE = "/regrow.gateway.v1."


def local_calls(
    predictor: Predictor, feedback: Feedback, keys: KeyApi, audit: AuditApi, system: System, events: EventApi
) -> Mapping[str, Local]:
    """The handlers of every rpc of `regrow.gateway.v1` that is answered at once."""
    return {
        f"{_PACKAGE}PredictionService/Predict": predictor.predict,
        f"{_PACKAGE}PredictionService/GetServedModel": predictor.served,
        f"{_PACKAGE}FeedbackService/SendFeedback": feedback.send,
        f"{_PACKAGE}FeedbackService/BatchSendFeedback": feedback.batch_send,
        f"{_PACKAGE}KeyService/CreateKey": keys.create,
        f"{_PACKAGE}KeyService/GetKey": keys.get,
        f"{_PACKAGE}KeyService/ListKeys": keys.list_keys,
        f"{_PACKAGE}KeyService/UpdateKey": keys.update,
        f"{_PACKAGE}KeyService/RotateKey": keys.rotate,
        f"{_PACKAGE}KeyService/RevokeKey": keys.revoke,
        f"{_PACKAGE}KeyService/GetCaller": keys.caller,
        f"{_PACKAGE}AuditService/ListAuditEvents": audit.list_events,
        f"{_PACKAGE}SystemService/GetStatus": system.get_status,
        f"{_PACKAGE}EventService/ListDeadLetters": events.list_dead_letters,
        f"{_PACKAGE}EventService/GetDeadLetter": events.get_dead_letter,
        f"{_PACKAGE}EventService/ReplayDeadLetters": events.replay_dead_letters,
    }


def local_streams(feedback: FeedbackStreams) -> Mapping[str, LocalStream]:
    """The handlers of every rpc that streams both ways."""
    return {f"{_PACKAGE}FeedbackService/StreamFeedback": feedback}


class KeyApi:
    """`KeyService`. The database is read and written in threads."""

    def __init__(self, keys: Keys, ring: KeyRing, limiter: Limiter, projects: Projects) -> None:
        self._keys = keys
        self._projects = projects
        self._ring = ring
        self._limiter = limiter

    async def create(self, request: gateway_pb2.CreateKeyRequest) -> gateway_pb2.CreateKeyResponse:
        """The key and, this one time, its secret."""
        sent = request.key
        wish = Wish(
            display_name=sent.display_name, role=_role_name(sent.role), projects=list(sent.projects), models=list(sent.models),
            expires=_expiry(sent), limits=_limits(sent.limits),
        )  # fmt: skip
        creator = current_principal()
        wish = checked_wish(wish, creator, now())
        for project in wish.projects:
            await self._projects.check(project.removeprefix("projects/"))
        for model in () if request.allow_missing_models else wish.models:
            await self._projects.check_model(model, "Make the key when it is there, or with allow_missing_models.")
        key, secret = await asyncio.to_thread(self._keys.create, creator, wish)
        self._ring.put(key)
        return gateway_pb2.CreateKeyResponse(key=self._proto(key), secret=secret)

    async def get(self, request: gateway_pb2.GetKeyRequest) -> gateway_pb2.Key:
        """One key."""
        key_id = parse("keys/{key}", request.name)["key"]
        return self._proto(await asyncio.to_thread(self._keys.find, current_principal(), key_id))

    async def list_keys(self, request: gateway_pb2.ListKeysRequest) -> gateway_pb2.ListKeysResponse:
        """A page, newest first."""
        keys, token = await asyncio.to_thread(
            self._keys.list_keys, current_principal(), asked(request), revoked=request.show_revoked
        )
        return gateway_pb2.ListKeysResponse(keys=[self._proto(key) for key in keys], next_page_token=token)

    async def update(self, request: gateway_pb2.UpdateKeyRequest) -> gateway_pb2.Key:
        """The key with what the mask names; it holds from the next call on."""
        key_id = parse("keys/{key}", request.key.name, "key.name")["key"]
        changes = _changes(request)
        key = await asyncio.to_thread(self._keys.update, current_principal(), key_id, changes, etag=request.key.etag)
        self._ring.put(key)
        return self._proto(key)

    async def rotate(self, request: gateway_pb2.RotateKeyRequest) -> gateway_pb2.RotateKeyResponse:
        """The new secret, this one time."""
        key_id = parse("keys/{key}", request.name)["key"]
        grace = span(request.grace, "grace") if request.HasField("grace") else DEFAULT_GRACE
        key, secret = await asyncio.to_thread(self._keys.rotate, current_principal(), key_id, grace)
        self._ring.put(key)
        return gateway_pb2.RotateKeyResponse(key=self._proto(key), secret=secret)

    async def revoke(self, request: gateway_pb2.RevokeKeyRequest) -> gateway_pb2.Key:
        """No call with this key begins after the answer."""
        key_id = parse("keys/{key}", request.name)["key"]
        key = await asyncio.to_thread(self._keys.revoke, current_principal(), key_id)
        self._ring.put(key)
        return self._proto(key)

    async def caller(self, _: gateway_pb2.GetCallerRequest) -> gateway_pb2.Key:
        """Who calls: the key, or what the groups of a token's subject give."""
        principal = current_principal()
        if not principal.subject:
            return self._proto(self._ring.key(principal.key_id))
        projects = [f"projects/{project}" for project in principal.projects if project != ALL_PROJECTS]
        return gateway_pb2.Key(display_name=principal.name, role=f"ROLE_{principal.role.upper()}", projects=projects)

    def _proto(self, key: Key) -> gateway_pb2.Key:
        message = gateway_pb2.Key(
            name=f"keys/{key.id}", display_name=key.display_name, role=f"ROLE_{key.role.upper()}",
            projects=[f"projects/{project}" for project in key.projects], prefix=f"rg_{key.prefix}",
            models=key.models, etag=key.etag,
        )  # fmt: skip
        message.create_time.FromDatetime(key.created)
        if (used := self._ring.last_used(key)) is not None:
            message.last_use_time.FromDatetime(used)
        if key.revoked is not None:
            message.revoke_time.FromDatetime(key.revoked)
        if key.expires is not None:
            message.expire_time.FromDatetime(key.expires)
        if key.former is not None and key.former.until > now():
            message.former_expire_time.FromDatetime(key.former.until)
        for field in _LIMITS:
            if (value := getattr(key.limits, field)) is not None:
                setattr(message.limits, field, value)
        today = self._limiter.used(key.id)
        message.usage.rows, message.usage.feedback = today.rows, today.feedback
        message.usage.reset_time.FromDatetime(now() + until_midnight())
        message.usage.reset_time.nanos = 0
        return message


def _role_name(role: gateway_pb2.Role) -> str:
    return gateway_pb2.Role.Name(role).removeprefix("ROLE_").lower()


_LIMITS = ("calls_per_second", "burst", "rows_per_day", "feedback_per_day")


def _limits(sent: gateway_pb2.KeyLimits) -> Limits:
    return Limits(**{field: getattr(sent, field) for field in _LIMITS if sent.HasField(field)})


def _changes(request: gateway_pb2.UpdateKeyRequest) -> dict[str, Any]:
    """What the mask names, as `Keys.update` takes it. Raises `InvalidField`."""
    key, changes = request.key, dict[str, Any]()
    single = [path.removeprefix("limits.") for path in request.update_mask.paths if path.startswith("limits.")]
    for path in request.update_mask.paths:
        if path == "display_name":
            changes["display_name"] = key.display_name
        elif path in ("expire_time", "ttl", "expiration"):
            changes["expires"] = _expiry(key)
        elif path == "limits":
            changes["limits"] = _limits(key.limits)
        elif path.removeprefix("limits.") not in _LIMITS:
            raise InvalidField("update_mask", f"'{path[:80]}' can't change. Name display_name, expire_time or limits.")
    if single and "limits" not in changes:
        sent = _limits(key.limits)
        changes["limits"] = lambda before: replace(before, **{field: getattr(sent, field) for field in single})
    if not changes:
        raise InvalidField("update_mask", "is empty: name what changes, display_name, expire_time or limits.")
    return changes


def _expiry(sent: gateway_pb2.Key) -> datetime | None:
    """Raises `InvalidField` for what no calendar has."""
    kind = sent.WhichOneof("expiration")
    try:
        if kind == "ttl":
            return now() + sent.ttl.ToTimedelta()
        return sent.expire_time.ToDatetime(UTC) if kind == "expire_time" else None
    except (OverflowError, ValueError):
        raise InvalidField(f"key.{kind}", "lies outside the years 1 to 9999.") from None
