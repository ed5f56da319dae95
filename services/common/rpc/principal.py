"""Who makes a call, and the call's id: carried as metadata between services, read by handlers through context variables.

The gateway authenticates the public and forwards a `Principal`; services trust it because the shared internal token comes
with it. A handler asks `current_principal()` and `current_request_id()`; both hold for the whole call, streams included,
in the thread (or asyncio task) that runs the handler.
"""

from __future__ import annotations

import base64
import hmac
import json
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from services.common.errors import Unauthenticated

if TYPE_CHECKING:
    from services.common.tracing.spans import Span

Role = Literal["viewer", "labeler", "editor", "admin", "service"]
Metadata = tuple[tuple[str, str], ...]

PRINCIPAL_KEY = "regrow-principal"
TOKEN_KEY = "regrow-token"
REQUEST_ID_KEY = "x-request-id"
ALL_PROJECTS = "*"
TOKEN_REFUSED = "INTERNAL_TOKEN_REFUSED"
"""The reason of a call with a wrong internal token: the fault of whoever set up the services, never of a user's key."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: a key or token with a role, good for `projects` (`("*",)` is all). `name` is what people read in history.

    `models`, where there are any, narrow it to these (`projects/shop/models/reviews`). `subject` is who a token was issued
    for, empty for a key.
    """

    key_id: str
    role: Role
    projects: tuple[str, ...] = (ALL_PROJECTS,)
    name: str = ""
    models: tuple[str, ...] = ()
    subject: str = ""

    @property
    def called(self) -> str:
        """What a refusal calls the caller."""
        return f"token of '{self.name}'" if self.subject else f"key '{self.name}'"

    def may_enter(self, project: str) -> bool:
        """Whether the key is good for this project at all; what it may do there is the role's business."""
        return ALL_PROJECTS in self.projects or project in self.projects

    def may_use(self, name: str) -> bool:
        """Whether a resource is one of the models that the key is narrowed to, or within one; else all of its projects are."""
        return not self.models or any(name == model or name.startswith(f"{model}/") for model in self.models)


@dataclass(slots=True, kw_only=True)
class Call:
    """The call that runs now. `deadline` is on the monotonic clock; None is no deadline. `span` is None without tracing.

    At the public door, for log and audit: `peer` tells the caller's address; `request` is the message once it was read, and
    `about` the resource that a call names which was refused before that; `audited` says that an event of the call was handed
    over. Of a credential that was refused, `key_prefix` is the public part of the key, and `refused` whose key it was, where it
    is known and good no more.

    `gone` returns when the caller has left; None where the task of a call whose caller leaves is cancelled.
    """

    request_id: str
    principal: Principal | None = None
    deadline: float | None = None
    span: Span | None = None
    peer: Callable[[], str] = str
    request: object = None
    about: Callable[[], str] = str
    key_prefix: str = ""
    refused: Principal | None = None
    audited: bool = False
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None


_current: ContextVar[Call | None] = ContextVar("regrow_call", default=None)


def service_principal(name: str) -> Principal:
    """What a service is when it calls another one for itself."""
    return Principal(key_id=f"service:{name}", role="service", name=name)


def current_call() -> Call | None:
    """The call that this thread or task works for; None in a background thread."""
    return _current.get()


def current_principal() -> Principal:
    """Who called. Raises `LookupError` outside a call: work in the background says by itself for whom it is done."""
    call = _current.get()
    if call is None or call.principal is None:
        raise LookupError("There is no principal: this code doesn't run inside a call.")
    return call.principal


def current_request_id() -> str:
    """The id that finds this call in the logs of every service; empty outside a call."""
    call = _current.get()
    return "" if call is None else call.request_id


def seconds_left() -> float | None:
    """Until the caller gives up; None where it waits forever or there is no call."""
    call = _current.get()
    return None if call is None or call.deadline is None else max(0.0, call.deadline - time.monotonic())


class entered:
    """Makes `call` the current one for the block: what the server does around every handler, and tests around a bare one."""

    __slots__ = ("_before", "_call")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> Call:
        self._before = _current.get()
        _current.set(self._call)
        return self._call

    def __exit__(self, *_: object) -> None:
        _current.set(self._before)


@contextmanager
def acting_as(principal: Principal, request_id: str = "") -> Iterator[Call]:
    """Runs the block as a call of `principal`."""
    with entered(Call(request_id=request_id or new_request_id(), principal=principal)) as call:
        yield call


def new_request_id() -> str:
    """An id for a call that came without one."""
    # Not from the operating system: it is no secret, and asking costs every call some microseconds.
    return f"{random.getrandbits(64):016x}"


def request_id_from(metadata: Mapping[str, str | bytes]) -> str:
    """The caller's id where it is fit for logs and headers, else a new one."""
    sent = metadata.get(REQUEST_ID_KEY)
    return sent if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent) else new_request_id()


def encode(principal: Principal) -> str:
    """JSON in base64: metadata values are ASCII, names of people aren't."""
    content = {
        "key_id": principal.key_id, "role": principal.role, "projects": principal.projects, "name": principal.name,
        "models": principal.models, "subject": principal.subject,
    }  # fmt: skip
    return base64.b64encode(json.dumps(content).encode()).decode()


def decode(text: str) -> Principal:
    """Raises `Unauthenticated` for anything that `encode` didn't make."""
    try:
        content = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError):
        content = None
    match content:
        case {"key_id": str(key_id), "role": str(role), "projects": list(projects), "name": str(name), **rest} if (
            role in get_args(Role)
        ):
            models, subject = rest.get("models"), rest.get("subject")
            if isinstance(models, list) and isinstance(subject, str) and _are_words([*projects, *models]):
                return Principal(
                    key_id=key_id, role=cast(Role, role), projects=tuple(projects), name=name, models=tuple(models),
                    subject=subject,
                )  # fmt: skip
    raise Unauthenticated(f"The metadata '{PRINCIPAL_KEY}' can't be read. Run the same version of Regrow everywhere.")


def _are_words(values: list[object]) -> bool:
    return all(isinstance(one, str) for one in values)


def call_metadata(principal: Principal, token: str, request_id: str) -> Metadata:
    """What every call between services carries; its inverse is `authenticate` and `request_id_from`."""
    return ((TOKEN_KEY, token), (PRINCIPAL_KEY, encode(principal)), (REQUEST_ID_KEY, request_id))


def authenticate(metadata: Mapping[str, str | bytes], token: str) -> Principal:
    """The forwarded principal, after the internal token was checked in constant time. Raises `Unauthenticated`."""
    sent = metadata.get(TOKEN_KEY, "")
    if not hmac.compare_digest(sent.encode() if isinstance(sent, str) else sent, token.encode()):
        error = Unauthenticated("This service takes calls from other services only. Call the gateway with your API key.")
        error.reason = TOKEN_REFUSED
        raise error
    forwarded = metadata.get(PRINCIPAL_KEY)
    if not isinstance(forwarded, str):
        raise Unauthenticated(f"The metadata '{PRINCIPAL_KEY}' is missing: the call names nobody.")
    return decode(forwarded)


def as_mapping(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str | bytes]:
    """Metadata by key; of a repeated key the last value holds."""
    return dict(metadata or ())
