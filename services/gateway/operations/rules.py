"""What an operation is, which calls may be one, and when it is safe to run one again. Pure.

An operation is one of the public calls with one request and one answer whose deadline in the policy is long. It is run at
least once: a gateway that was killed is followed by one that runs it again. So a call is run again only where that does no
harm: it carries a `request_id` (made here where the caller left it out), or its proto says that it is idempotent. Any other
is ended with `OPERATION_INTERRUPTED`, for nobody knows how far it came.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from services.common.errors import FailedPrecondition, InvalidField
from services.common.rpc.principal import Principal
from services.gateway.methods import GATEWAY, Method, public_methods
from services.gateway.policy import RULES, SLOW

OPERATION = "projects/{project}/operations/{operation}"
LEASE = timedelta(seconds=20)
"""How long a gateway that runs an operation may be silent before another one takes it over."""
RENEW_SECONDS = 5.0
MOST_ATTEMPTS = 20


class State(StrEnum):
    """Where an operation is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call in the background. `request`, `response` and `status` (a google.rpc.Status) are bytes of messages.

    `source` is the address that it was asked for from. `runner` is the gateway that has it, until `lease`.
    """

    id: str
    project: str
    method: str
    request: bytes
    request_id: str
    principal: Principal
    state: State
    created: datetime
    source: str = ""
    attempts: int = 0
    runner: str = ""
    lease: datetime | None = None
    cancelling: bool = False
    started: datetime | None = None
    ended: datetime | None = None
    response: bytes | None = None
    status: bytes | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"projects/{self.project}/operations/{self.id}"


@cache
def eligible() -> dict[str, Method]:
    """The calls that may be operations, by gRPC path."""
    return {path: method for path, method in public_methods().items() if _is_eligible(method)}


def method_named(name: str) -> Method:
    """By `package.Service/Method`. Raises `InvalidField` that says which there are."""
    method = eligible().get(f"/{name.removeprefix('/')}")
    if method is None:
        names = ", ".join(path[1:] for path in eligible())
        raise InvalidField("method", f"'{name[:120]}' is no call that can be an operation. These are: {names}.")
    return method


def is_repeatable(method: Method) -> bool:
    """Whether a second run of the same request does no harm."""
    level = method.descriptor.GetOptions().idempotency_level
    return _has_request_id(method) or level != MethodOptions.IDEMPOTENCY_UNKNOWN


def with_request_id(method: Method, request: Message) -> tuple[Message, str, bool]:
    """The request with a request id where it can have one, that id, and whether the caller gave it."""
    if not _has_request_id(method):
        return request, "", False
    complete = type(request)()
    complete.CopyFrom(request)
    given: str = complete.request_id  # type: ignore[attr-defined]
    if not given:
        complete.request_id = f"operation-{secrets.token_hex(16)}"  # type: ignore[attr-defined]
    return complete, complete.request_id, bool(given)  # type: ignore[attr-defined]


def new_id(project: str, method: str, request_id: str, *, given: bool) -> str:
    """The same one for the same call with a request id that its caller gave; else a new one."""
    if not given:
        return f"o-{secrets.token_hex(16)}"
    return f"o-{hashlib.sha256(f'{project} {method} {request_id}'.encode()).hexdigest()[:32]}"


def interrupted(method: str) -> FailedPrecondition:
    """What an operation ends with that was interrupted and mustn't be run again."""
    return FailedPrecondition(
        f"The gateway stopped while {method} ran, and nobody knows how far it came. Look at what it was about, then decide.",
        reason="OPERATION_INTERRUPTED",
    )


def _is_eligible(method: Method) -> bool:
    streams = method.streams_requests or method.streams_responses
    return not streams and method.home != GATEWAY and RULES[method.path].seconds >= SLOW


def _has_request_id(method: Method) -> bool:
    return "request_id" in method.request.DESCRIPTOR.fields_by_name
